"""The lab's world: Postgres in Geneva, agents and a Redis in San Francisco, and links as slow as the real ones."""

import math
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio

from edgememory.changes import Change
from edgememory.client import EdgeMemory
from edgememory.freshness import Policy
from edgememory.lab.link import Link, wan_link
from edgememory.lab.people import NAMESPACE, Person
from edgememory.lab.report import Judgement, Report, judge
from edgememory.lab.servers import postgres_server, redis_server
from edgememory.models import Committed, Entry, Message, Page, UserKey
from edgememory.outbox.file import FileOutbox
from edgememory.parts import ORIGIN_TIMEOUT, Parts
from edgememory.store import OriginStore
from edgememory.stores.postgres import PostgresPrimary, migrate
from edgememory.stores.redis import RedisStore
from edgememory.tier import CacheTier, Tier
from edgememory.tiered import STALE_WAIT

REGION = "san_francisco"
GENEVA, EDGE = f"{REGION}-geneva", f"{REGION}-edge"
TO_GENEVA, TO_EDGE = 0.150, 0.005
"""Round trips from the region, in seconds."""
EDGE_TIMEOUT = 0.05
NOBODY = UserKey(NAMESPACE, "nobody")


@dataclass(slots=True)
class CountedOrigin:
    """An origin that counts how often it is read."""

    store: OriginStore
    reads: int = 0

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        self.reads += 1
        return await self.store.get(user, at_least=at_least)

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        return await self.store.commit(user, changes)

    async def delete(self, user: UserKey) -> Entry:
        return await self.store.delete(user)

    async def get_messages(
        self, user: UserKey, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        return await self.store.get_messages(user, session_id=session_id, cursor=cursor, limit=limit)

    async def warm(self) -> None:
        await self.store.warm()

    async def aclose(self) -> None:
        await self.store.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What is one process on a real host: an `EdgeMemory` with connections and process memory of its own."""

    memory: EdgeMemory
    edge: CacheTier
    origin: CountedOrigin

    async def connected(self) -> None:
        """Wait until two questions at once take Geneva one round trip: both connections are open."""
        await self.memory.warm(NOBODY.user_id)
        waited = math.inf
        while waited > 1.5 * TO_GENEVA:
            started = perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(self.origin.get, NOBODY)
            waited = perf_counter() - started


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Servers and links that run."""

    geneva: Link
    edge: Link
    origin_dsn: str
    edge_url: str
    far_dsn: str
    """The same database as seen from San Francisco."""
    outbox: Path
    """The host's: all its agents share it."""
    _far_edge_url: str = field(repr=False)

    @property
    def links(self) -> dict[str, Link]:
        return {GENEVA: self.geneva, EDGE: self.edge}

    @asynccontextmanager
    async def agent(self, *, policy: Policy | None = None) -> AsyncGenerator[Agent]:
        """A new process: nothing is in its memory, and no connection is open yet."""
        edge: CacheTier = Tier(name="redis", store=RedisStore(self._far_edge_url), timeout=EDGE_TIMEOUT)
        origin = CountedOrigin(PostgresPrimary(self.far_dsn))
        parts = Parts(
            origin=Tier(name="origin", store=origin, timeout=ORIGIN_TIMEOUT),
            outbox=FileOutbox(self.outbox),
            caches=[edge],
        )
        async with EdgeMemory(parts, namespace=NAMESPACE, policy=policy) as memory:
            yield Agent(memory=memory, edge=edge, origin=origin)

    @asynccontextmanager
    async def agents(self, count: int) -> AsyncGenerator[list[Agent]]:
        """New processes, each with its connections open."""
        async with AsyncExitStack() as stack:
            agents = [await stack.enter_async_context(self.agent()) for _ in range(count)]
            async with anyio.create_task_group() as group:
                for agent in agents:
                    group.start_soon(agent.connected)
            yield agents


@asynccontextmanager
async def running_world() -> AsyncGenerator[World]:
    """Start everything; stop it in the end."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="edgememory-lab-"))
        postgres = await stack.enter_async_context(postgres_server())
        redis = await stack.enter_async_context(redis_server())
        geneva = await stack.enter_async_context(wan_link("127.0.0.1", postgres.port, round_trip=TO_GENEVA))
        edge = await stack.enter_async_context(wan_link("127.0.0.1", redis.port, round_trip=TO_EDGE))
        await migrate(postgres.dsn)
        yield World(
            geneva=geneva,
            edge=edge,
            origin_dsn=postgres.dsn,
            edge_url=redis.url,
            far_dsn=postgres.dsn.replace(f":{postgres.port}/", f":{geneva.port}/"),
            _far_edge_url=redis.url.replace(f":{redis.port}", f":{edge.port}"),
            outbox=Path(folder) / "outbox.sqlite",
        )


async def load(world: World, everybody: Sequence[Person]) -> None:
    """Let the origin know *everybody*; past the link, since nobody waits for this."""
    origin = PostgresPrimary(world.origin_dsn)
    shares = [everybody[start::2] for start in range(2)]

    async def share(persons: Sequence[Person]) -> None:
        for person in persons:
            await origin.commit(person.key, tuple(person.earlier_calls()))

    try:
        async with anyio.create_task_group() as group:
            for persons in shares:
                group.start_soon(share, persons)
    finally:
        await origin.aclose()


def judged(report: Report) -> Iterator[Judgement]:
    """Hold the run to the promises."""
    return judge(
        report, region=REGION, geneva=GENEVA, edge=EDGE, edge_timeout=EDGE_TIMEOUT * 1000, stale_wait=STALE_WAIT * 1000
    )
