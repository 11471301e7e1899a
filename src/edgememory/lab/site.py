"""A region as it runs: its cache, its agents' host, and links as slow as the real ones to everything else."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Literal

import anyio
from anyio.abc import SocketStream

from edgememory.client import EdgeMemory
from edgememory.freshness import Policy
from edgememory.lab.geography import Region
from edgememory.lab.link import Link
from edgememory.lab.people import NAMESPACE, Person
from edgememory.lab.recorded import Record, RecordedCache, RecordedOrigin, RecordedOutbox, RecordedReplica
from edgememory.lab.servers.worker import TOKEN, WorkerServer
from edgememory.models import UserKey
from edgememory.outbox.delivery import DeliveryPolicy
from edgememory.outbox.file import FileOutbox
from edgememory.outbox.workers import WorkersOutbox
from edgememory.parts import ORIGIN_TIMEOUT, Parts
from edgememory.store import CacheStore, OriginStore, Outbox, ReplicaStore
from edgememory.stores.postgres import PostgresPrimary, PostgresReplica
from edgememory.stores.redis import RedisStore
from edgememory.stores.workers_kv import WorkersKVStore
from edgememory.tier import CacheTier, Tier

Kind = Literal["redis", "replica", "workers_kv", "workers"]
"""What agents have between process memory and the origin: the region's Redis, replicas, Workers KV, or the Worker with
their outbox in it."""
EDGE_TIMEOUT = 0.05
WORKER_TIMEOUT = 0.25
KEY_SECRET = "the lab's own secret"
LEASE = 5.0
"""Seconds until what a dead container had claimed of the Worker's outbox is adopted by another agent."""
REPLICA_TIMEOUT = 0.1
NOBODY = UserKey(NAMESPACE, "nobody")
_SLACK = 0.010
"""Seconds that a request may take beyond its link and still count as made over an open connection."""
_PING = b"x" * 64


@dataclass(slots=True)
class Hops:
    """Callers' connections to the agents' host. What they say is played back by an echo at its far end."""

    link: Link
    _idle: list[SocketStream] = field(default_factory=list[SocketStream])

    async def once(self) -> float:
        """Go from a caller to the agent and back; return how long that took, in seconds."""
        stream = self._idle.pop() if self._idle else await self._connected()
        took = await _echo(stream)
        self._idle.append(stream)
        return took

    async def _connected(self) -> SocketStream:
        stream = await anyio.connect_tcp(self.link.host, self.link.echo_port)
        await _echo(stream)  # pays for the connection
        return stream

    async def aclose(self) -> None:
        for stream in self._idle:
            await stream.aclose()


async def _echo(stream: SocketStream) -> float:
    """Send and receive it; a stream on which that did not end is closed."""
    try:
        started = perf_counter()
        await stream.send(_PING)
        missing = len(_PING)
        while missing:
            missing -= len(await stream.receive(missing))
        return perf_counter() - started
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


_processes = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """What is one process on a real host: an `EdgeMemory` with connections and process memory of its own."""

    site: "Site"
    name: str
    """No other process of the run has it."""
    memory: EdgeMemory
    edge: CacheTier
    origin: OriginStore
    replica: ReplicaStore | None
    record: Record

    async def connected(self) -> None:
        """Wait until two questions at once take Geneva one round trip: both connections are open."""
        if self.replica is not None:
            await self.replica.warm()
        await self.memory.warm(NOBODY.user_id)
        most = 1.5 * self.site.geneva.round_trip + _SLACK
        for _ in range(20):
            started = perf_counter()
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(self.origin.get, NOBODY)
            if perf_counter() - started < most:
                return


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The Worker in the location of Cloudflare's that is nearest to a region's agents."""

    server: WorkerServer
    url: str
    """As agents reach it."""
    beside: WorkersKVStore
    """As nobody does: past the link."""

    def store(self) -> WorkersKVStore:
        return WorkersKVStore(self.url, TOKEN, key_secret=KEY_SECRET)

    def outbox(self) -> WorkersOutbox:
        return WorkersOutbox(self.url, TOKEN, key_secret=KEY_SECRET)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the agents of a region are. What stands *beside* it is reached past the links: nobody waits for that."""

    region: Region
    hops: Hops
    edge: Link
    geneva: Link
    replicas: Mapping[str, Link]
    """By place."""
    edge_url: str
    origin_dsn: str
    replica_dsns: Mapping[str, str]
    redis_beside: RedisStore
    origin_beside: PostgresPrimary
    location: Location | None
    """None in a run without Cloudflare."""
    file: Path
    """The host's outbox: all its agents share it."""
    kind: Kind = "redis"
    """Its agents'."""

    @property
    def links(self) -> dict[str, Link]:
        """By what is at their far end; of the replicas, the nearest."""
        links = {"user": self.hops.link, "edge": self.edge, "geneva": self.geneva}
        nearest = self.replicas.get(self.region.replica or "")
        return links if nearest is None else links | {"replica": nearest}

    @property
    def kinds(self) -> Sequence[Kind]:
        """Which agents there can be."""
        replica: Sequence[Kind] = () if self.region.replica is None else ("replica",)
        worker: Sequence[Kind] = () if self.location is None else ("workers_kv", "workers")
        return ("redis", *replica, *worker)

    def of(self, kind: Kind) -> "Site":
        """Return the same site with other agents: *kind* is one of its `kinds`."""
        return replace(self, kind=kind)

    @property
    def worker(self) -> Location:
        assert self.location is not None, "asked for by agents of the Worker alone"
        return self.location

    @property
    def edge_beside(self) -> CacheStore:
        """The cache of its agents."""
        return self.worker.beside if self._is_at_cloudflare else self.redis_beside

    @property
    def _is_at_cloudflare(self) -> bool:
        return self.kind in ("workers_kv", "workers")

    @property
    def host(self) -> str:
        """What its agents' outbox is called: who shares it reads what the others wrote."""
        return "workers" if self.kind == "workers" else str(self.file)

    def outbox(self) -> Outbox:
        """Make an outbox of its agents'."""
        return self.worker.outbox() if self.kind == "workers" else FileOutbox(self.file)

    def _edge(self, record: Record) -> CacheTier:
        if self._is_at_cloudflare:
            at_cloudflare: CacheStore = RecordedCache(self.worker.store(), record)
            beside = self.kind == "workers"
            return Tier(name="workers", store=at_cloudflare, timeout=WORKER_TIMEOUT, beside_outbox=beside)
        redis: CacheStore = RecordedCache(RedisStore(self.edge_url), record)
        return Tier(name="redis", store=redis, timeout=EDGE_TIMEOUT)

    @asynccontextmanager
    async def agent(self, *, policy: Policy | None = None) -> AsyncGenerator[Agent]:
        """A new process: nothing is in its memory, and no connection is open yet."""
        record = Record()
        edge = self._edge(record)
        replica: ReplicaStore | None = None
        if self.kind == "replica":
            replica = RecordedReplica(PostgresReplica(self.replica_dsns), record)
        origin: OriginStore = RecordedOrigin(PostgresPrimary(self.origin_dsn), record)
        parts = Parts(
            origin=Tier(name="origin", store=origin, timeout=ORIGIN_TIMEOUT),
            outbox=RecordedOutbox(self.outbox(), record),
            caches=(edge,) if replica is None else (),
            replica=None if replica is None else Tier(name="replica", store=replica, timeout=REPLICA_TIMEOUT),
        )
        delivery = DeliveryPolicy(lease=LEASE) if self.kind == "workers" else None
        async with EdgeMemory(parts, namespace=NAMESPACE, policy=policy, delivery=delivery) as memory:
            name = f"process {next(_processes)}"
            yield Agent(site=self, name=name, memory=memory, edge=edge, origin=origin, replica=replica, record=record)

    @asynccontextmanager
    async def agents(self, count: int) -> AsyncGenerator[list[Agent]]:
        """New processes, each with its connections open."""
        async with AsyncExitStack() as stack:
            agents = [await stack.enter_async_context(self.agent()) for _ in range(count)]
            await all_connected(agents)
            yield agents

    async def load(self, persons: Sequence[Person]) -> None:
        """Let the origin know *persons*."""

        async def share(start: int) -> None:
            for person in persons[start::2]:
                await self.origin_beside.commit(person.key, tuple(person.earlier_calls()))

        async with anyio.create_task_group() as group:
            for start in range(2):  # it has two connections
                group.start_soon(share, start)


async def all_connected(agents: Sequence[Agent]) -> None:
    async with anyio.create_task_group() as group:
        for agent in agents:
            group.start_soon(agent.connected)
