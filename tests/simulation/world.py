"""A world in virtual time: regions with caches, hosts with outboxes, processes that die, one origin for all."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random

from edgememory.freshness import Policy
from edgememory.store import CacheStore, Outbox
from edgememory.stores.memory import InMemoryStore
from edgememory.testing.faults import Link
from edgememory.testing.history import History
from tests.simulation.cloudflare import Location, Objects, OutboxThere
from tests.simulation.process import Process, Request
from tests.simulation.stores import (
    SERVERS,
    START,
    HostCache,
    HostClock,
    Ledger,
    RecordingOutbox,
    RegionCache,
    Replicas,
    id_clock,
    true_time,
)

CLOCK_ERROR = 1.0
"""The largest difference between two clocks: the origin's is right, a host's is off by at most half of it."""
LONGEST_FAULT = 12.0
LONGEST_LAG = 10.0
USERS = ("ana", "bo", "cy", "di")


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
    replica: Replicas | None
    to_replica: Link


@dataclass
class Host:
    name: str
    region: Region
    outbox: RecordingOutbox
    reached: Outbox
    """The same, as its processes reach it."""
    to_outbox: Link
    cache: HostCache
    to_shared: Link
    """To its cache: a file that may be locked, or whose disk may be full."""
    clock: HostClock
    processes: int
    """How many it runs at a time."""


@dataclass
class World:
    """Everything that outlives a process."""

    history: History
    random: Random
    ledger: Ledger
    regions: list[Region]
    hosts: list[Host]
    users: tuple[str, ...]
    objects: Objects | None
    """Cloudflare's, if that is the edge."""
    has_backups: bool
    """Then the origin may be restored from one."""
    ends: float
    """When agents stop, and faults heal."""
    shown: list[tuple[str, int]] = field(default_factory=list)
    """(user, version): what agents tell each other after `committed`."""
    sent: deque[Request] = field(default_factory=lambda: deque(maxlen=50))
    """The last requests to change something: each may arrive later, or once more."""
    _names: Iterator[int] = field(default_factory=count)

    @property
    def going(self) -> bool:
        return true_time() < self.ends

    async def waiting(self) -> int:
        """Count what waits in all outboxes."""
        return sum([(await host.outbox.depth()).changes for host in self.hosts])

    @contextmanager
    def process(self, host: Host) -> Iterator[Process]:
        """Be a new process of *host*."""
        process = Process(self, host, f"{host.name}.{next(self._names)}")
        token = id_clock.set(process.id_clock)
        try:
            with process.scope:
                yield process
        finally:
            id_clock.reset(token)
            process.alive = False


def made_up_world(seed: int) -> World:
    """Make a world from a seed: up to three regions and six hosts, a few users; Redis in each region, or Cloudflare."""
    random = Random(seed)
    history = History(
        policy=Policy(
            ttl=random.choice((6.0, 15.0)),
            stale_while_revalidate=random.choice((10.0, 120.0)),
            stale_if_error=300.0,
            missing_ttl=random.choice((1.0, 4.0)),
            near_ttl=1.0,
            near_keep=4.0,
        ),
        clock_error=CLOCK_ERROR,
        longest_fault=LONGEST_FAULT,
        longest_lag=LONGEST_FAULT + LONGEST_LAG,
    )
    ledger = Ledger(history)
    objects = None
    if random.random() < 0.5:
        objects = Objects(RecordingOutbox("objects", history, true_time))
        history.cleared_after = Location.cleared_after
    names = ("west", "south", "east")[: random.choice((1, 2, 2, 3))]
    regions = [_region(name, ledger, objects, history, random) for name in names]
    history.replicas = {region.name: frozenset(SERVERS) for region in regions if region.replica is not None}
    outboxes_there = random.random() < 0.7
    hosts = [
        _host(f"{region.name}-{number}", region, objects if outboxes_there else None, history, random)
        for region in regions
        for number in range(random.choice((1, 1, 2)))
    ]
    history.outboxes = {host.name: host.outbox.name for host in hosts}
    return World(
        history,
        random,
        ledger,
        regions,
        hosts,
        users=USERS[: random.randint(1, 4)],
        objects=objects,
        has_backups=random.random() < 0.2,
        ends=START + random.choice((15.0, 20.0, 40.0)),
    )


def _region(name: str, ledger: Ledger, objects: Objects | None, history: History, random: Random) -> Region:
    to_object = Link(store="object", random=random, latency=random.choice((0.002, 0.07)))
    cache: RegionCache | Location
    if objects is None:
        cache = held = RegionCache(name, history)
    else:
        cache, held = Location(objects, to_object, random), objects.entries
    return Region(
        name=name,
        cache=cache,
        held=held,
        to_object=to_object,
        to_cache=Link(store="edge", random=random, latency=0.003),
        to_origin=Link(store="origin", random=random, latency=random.choice((0.005, 0.075))),
        replica=Replicas(ledger, random) if random.random() < 0.6 else None,
        to_replica=Link(store="replica", random=random, latency=random.choice((0.004, 0.04))),
    )


def _host(name: str, region: Region, objects: Objects | None, history: History, random: Random) -> Host:
    clock = HostClock(random.uniform(-CLOCK_ERROR / 2, CLOCK_ERROR / 2))
    outbox = RecordingOutbox(name, history, clock.now) if objects is None else objects.outbox
    return Host(
        name=name,
        region=region,
        outbox=outbox,
        reached=outbox if objects is None else OutboxThere(objects, region.to_object),
        to_outbox=Link(store="outbox", random=random, latency=random.choice((0.0002, 0.004))),
        cache=HostCache(),
        to_shared=Link(store="host", random=random, latency=0.0001),
        clock=clock,
        processes=random.choice((1, 1, 2)),
    )
