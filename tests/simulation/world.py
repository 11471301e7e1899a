"""A world in virtual time: regions with caches, hosts with outboxes, processes that die, one origin for all."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import TypeVar

import anyio

from edgememory import EdgeMemory
from edgememory.freshness import Policy
from edgememory.outbox.delivery import DeliveryPolicy
from edgememory.parts import Parts
from edgememory.store import CacheStore, Outbox
from edgememory.stores.memory import InMemoryStore
from edgememory.testing.faults import DistantCache, DistantOrigin, DistantOutbox, DistantReplica, Link
from edgememory.tier import Tier
from tests.simulation.cloudflare import Location, Objects, OutboxThere
from tests.simulation.history import Died, History
from tests.simulation.stores import START, LaggingReplica, Ledger, RecordingOutbox, RegionCache, clock, true_time

T = TypeVar("T")

NAMESPACE = "clinic"
CLOCK_ERROR = 1.0
"""The largest difference between two clocks: the origin's is right, a host's is off by at most half of it."""
LONGEST_FAULT = 12.0
LONGEST_LAG = LONGEST_FAULT + 3.0
DELIVERY = DeliveryPolicy(lease=6.0, poll=3.0, commit_timeout=1.0, blocked_pause=5.0)


@dataclass
class Region:
    name: str
    cache: CacheStore
    held: InMemoryStore
    """What the cache holds in the end."""
    to_cache: Link
    to_object: Link
    """From a location of Cloudflare's, if that is the edge."""
    to_origin: Link
    replica: LaggingReplica | None
    to_replica: Link


@dataclass
class Host:
    name: str
    region: Region
    outbox: RecordingOutbox
    reached: Outbox
    """The same, as its processes reach it."""
    to_outbox: Link
    skew: float

    def now(self) -> float:
        return true_time() + self.skew


@dataclass
class World:
    """Everything that outlives a process."""

    history: History
    random: Random
    ledger: Ledger
    regions: list[Region]
    hosts: list[Host]
    users: list[str]
    objects: Objects | None
    """Cloudflare's, if that is the edge."""
    ends: float
    """When agents stop, and faults heal."""
    shown: list[tuple[str, int]] = field(default_factory=list)
    """(user, version): what agents tell each other after `committed`."""
    healed: anyio.Event = field(default_factory=anyio.Event)
    _names: Iterator[int] = field(default_factory=count)

    @property
    def going(self) -> bool:
        return true_time() < self.ends

    @contextmanager
    def process(self, host: Host) -> "Iterator[Process]":
        """Be a new process of *host*."""
        process = Process(self, host, f"{host.name}.{next(self._names)}")
        token = clock.set(host.now)
        try:
            with process.scope:
                yield process
        finally:
            clock.reset(token)
            process.alive = False


class Process:
    """One process: a real `EdgeMemory`. When it dies, it does nothing more."""

    def __init__(self, world: World, host: Host, name: str) -> None:
        self.world = world
        self.host = host
        self.name = name
        self.alive = True
        self.scope = anyio.CancelScope()
        self.memory = EdgeMemory(
            self._parts(host, host.region),
            namespace=NAMESPACE,
            policy=world.history.policy,
            delivery=DELIVERY,
            now=host.now,
            monotonic=anyio.current_time,
        )

    def _parts(self, host: Host, region: Region) -> Parts:
        replica = region.replica
        return Parts(
            origin=Tier(
                name="origin",
                store=DistantOrigin(self.world.ledger, Wire(self, region.to_origin)),
                timeout=1.0,
                monotonic=anyio.current_time,
            ),
            caches=[
                Tier(
                    name="edge",
                    store=DistantCache(region.cache, Wire(self, region.to_cache)),
                    timeout=0.05 if self.world.objects is None else 0.25,
                    monotonic=anyio.current_time,
                    beside_outbox=isinstance(host.reached, OutboxThere),
                )
            ],
            replica=None
            if replica is None
            else Tier(
                name="replica",
                store=DistantReplica(replica, Wire(self, region.to_replica)),
                timeout=0.1,
                monotonic=anyio.current_time,
            ),
            outbox=DistantOutbox(host.reached, Wire(self, host.to_outbox)),
        )

    def die(self) -> None:
        """Stop at once, wherever it is: nothing that it would still do is done."""
        if self.alive:
            self.alive = False
            self.world.history.add(Died(at=true_time(), process=self.name))
            self.scope.cancel()


class Wire:
    """A process' end of a link. What a dead process still asks for is never done, and never answered."""

    def __init__(self, process: Process, link: Link) -> None:
        self._process = process
        self._link = link

    async def carry(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        await self._lives()
        answer = await self._link.carry(operation, lambda: self._while_alive(request))
        await self._lives()
        return answer

    async def _while_alive(self, request: Callable[[], Awaitable[T]]) -> T:
        await self._lives()
        return await request()

    async def _lives(self) -> None:
        if not self._process.alive:
            await anyio.sleep_forever()


def made_up_world(seed: int) -> World:
    """Make a world from a seed: two regions, three hosts, a few users; a Redis in each region, or Cloudflare."""
    random = Random(seed)
    policy = Policy(
        ttl=random.choice((6.0, 15.0)),
        stale_while_revalidate=random.choice((10.0, 120.0)),
        stale_if_error=300.0,
        missing_ttl=random.choice((1.0, 4.0)),
        near_ttl=1.0,
        near_keep=4.0,
    )
    history = History(seed=seed, policy=policy, clock_error=CLOCK_ERROR, lag=LONGEST_LAG)
    ledger = Ledger(history)
    objects = None
    if random.random() < 0.5:
        objects = Objects(RecordingOutbox("objects", history, true_time), random)
        history.cleared_after = Location.cleared_after
    regions = [_region(name, ledger, objects, random) for name in ("west", "south")]
    history.replicated = frozenset(region.name for region in regions if region.replica is not None)
    hosts = [
        _host(name, regions[index], objects if there else None, history, random)
        for there in (random.random() < 0.7,)
        for name, index in (("west-1", 0), ("west-2", 0), ("south-1", 1))
    ]
    history.outboxes = {host.name: host.outbox.name for host in hosts}
    users = ["ana", "bo", "cy", "di"][: random.randint(1, 4)]
    return World(history, random, ledger, regions, hosts, users, objects, ends=START + random.choice((20.0, 50.0)))


def _region(name: str, ledger: Ledger, objects: Objects | None, random: Random) -> Region:
    to_object = Link(store="object", random=random, latency=random.choice((0.002, 0.07)))
    cache: RegionCache | Location
    if objects is None:
        cache = held = RegionCache(monotonic=anyio.current_time)
    else:
        cache, held = Location(objects, to_object), objects.entries
    return Region(
        name=name,
        cache=cache,
        held=held,
        to_object=to_object,
        to_cache=Link(store="edge", random=random, latency=0.003),
        to_origin=Link(store="origin", random=random, latency=random.choice((0.005, 0.075))),
        replica=LaggingReplica(ledger, random.choice((0.0, 0.5, 3.0))) if random.random() < 0.6 else None,
        to_replica=Link(store="replica", random=random, latency=random.choice((0.004, 0.04))),
    )


def _host(name: str, region: Region, objects: Objects | None, history: History, random: Random) -> Host:
    skew = random.uniform(-CLOCK_ERROR / 2, CLOCK_ERROR / 2)
    link = Link(store="outbox", random=random, latency=random.choice((0.0002, 0.004)))

    def now() -> float:
        return true_time() + skew

    if objects is not None:
        return Host(name, region, objects.outbox, OutboxThere(objects, region.to_object), link, skew)
    outbox = RecordingOutbox(name, history, now)
    return Host(name, region, outbox, outbox, link, skew)
