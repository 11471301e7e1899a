"""The world as it runs: Postgres at the origin, its replicas, and one region after the other."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

from edgememory.lab.geography import KvDelays, Region, World
from edgememory.lab.link import Link, wan_link
from edgememory.lab.servers import PostgresServer, ReplicaServer, postgres_server, redis_server, replica_server
from edgememory.lab.servers.worker import TOKEN, worker_server
from edgememory.lab.site import KEY_SECRET, Hops, Location, Site
from edgememory.stores.postgres import PostgresPrimary, migrate
from edgememory.stores.redis import RedisStore
from edgememory.stores.workers_kv import WorkersKVStore

_HOST = "127.0.0.1"
_SETTINGS = {"autovacuum": "off"}
"""The lab's database doubles within minutes and would be analysed every minute. After that every connection plans its
next read anew, 4 ms. One that has grown over years is analysed once in days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Servers that run. Regions come up when they are asked for."""

    world: World
    postgres: PostgresServer
    replicas: Mapping[str, ReplicaServer]
    """By place. WAL travels to each over a link of its own."""
    folder: Path

    @asynccontextmanager
    async def site(self, region: Region, *, kv: KvDelays | None = None) -> AsyncGenerator[Site]:
        """Bring a region up: a cache, with *kv* a Worker, and links from the place of its agents to everything else."""
        async with AsyncExitStack() as stack:
            redis = await stack.enter_async_context(redis_server())
            here = region.agent
            # Nothing but the echo at its far end is used of the first.
            user = await self._link(stack, region.caller, here, self.postgres.port)
            edge = await self._link(stack, here, region.edge, redis.port)
            geneva = await self._link(stack, here, self.world.origin, self.postgres.port)
            reached: Mapping[str, ReplicaServer] = {} if region.replica is None else self.replicas
            replicas = {place: await self._link(stack, here, place, server.port) for place, server in reached.items()}
            site = Site(
                region=region,
                hops=Hops(user),
                edge=edge,
                geneva=geneva,
                replicas=replicas,
                edge_url=_through(edge, redis.url, redis.port),
                origin_dsn=_through(geneva, self.postgres.dsn, self.postgres.port),
                replica_dsns={
                    place: _through(link, reached[place].dsn, reached[place].port) for place, link in replicas.items()
                },
                redis_beside=RedisStore(redis.url),
                origin_beside=PostgresPrimary(self.postgres.dsn),
                location=None if kv is None else await self._location(stack, region, kv),
                file=self.folder / f"{token_hex(8)}.sqlite",
            )
            for close in (site.hops.aclose, site.redis_beside.aclose, site.origin_beside.aclose):
                stack.push_async_callback(close)
            yield site

    async def _location(self, stack: AsyncExitStack, region: Region, kv: KvDelays) -> Location:
        milliseconds = {"FIRST_READ_MS": kv.first_read * 1000, "DISTANT_OBJECT_MS": kv.distant_object * 1000}
        bindings = {"TOKENS": TOKEN} | {name: str(value) for name, value in milliseconds.items()}
        server = await stack.enter_async_context(worker_server(bindings=bindings))
        link = await self._link(stack, region.agent, region.edge, server.port)
        beside = WorkersKVStore(server.url, TOKEN, key_secret=KEY_SECRET)
        stack.push_async_callback(beside.aclose)
        return Location(server=server, url=_through(link, server.url, server.port), beside=beside)

    async def _link(self, stack: AsyncExitStack, here: str, there: str, port: int) -> Link:
        shape = self.world.link(here, there)
        link = wan_link(_HOST, port, round_trip=shape.round_trip, jitter=shape.jitter)
        return await stack.enter_async_context(link)


def _through(link: Link, address: str, port: int) -> str:
    return address.replace(f":{port}", f":{link.port}")


@asynccontextmanager
async def running_world(world: World, replicas: Sequence[str]) -> AsyncGenerator[Running]:
    """Start the origin and a replica in each of the named places; stop them in the end."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="edgememory-lab-"))
        postgres = await stack.enter_async_context(postgres_server(settings=_SETTINGS))
        await migrate(postgres.dsn)
        servers: dict[str, ReplicaServer] = {}
        for place in replicas:
            shape = world.link(place, world.origin)
            link = wan_link(_HOST, postgres.port, round_trip=shape.round_trip, jitter=shape.jitter)
            upstream = await stack.enter_async_context(link)
            servers[place] = await stack.enter_async_context(replica_server(postgres, upstream_port=upstream.port))
        yield Running(world=world, postgres=postgres, replicas=servers, folder=Path(folder))
