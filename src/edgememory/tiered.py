"""TieredStore: process memory, this region's caches, a replica and the origin, read as one."""

import math
import time
from collections.abc import Callable, Sequence

import anyio
from msgspec import UNSET

from edgememory.background import Background
from edgememory.errors import StoreError
from edgememory.floors import Floors
from edgememory.freshness import Policy, Verdict, decide, fresh_for
from edgememory.models import Beside, Entry, Snapshot, UserKey
from edgememory.single_flight import Flight, SingleFlight
from edgememory.stores.memory import InMemoryStore
from edgememory.telemetry import Counters
from edgememory.tier import CacheTier, OriginTier, ReplicaTier
from edgememory.walk import NEAR, NOTHING, Read, Status, Tiers, Walk, refresh

STALE_WAIT = 0.02
STAGGER = 0.02


def _ignore(user: UserKey, entry: Entry) -> None:
    """Nobody wants to know."""


class TieredStore:
    """Reads a user's memory from the nearest tier that may answer, and keeps the nearer ones filled.

    Every entry that passes through is newer-wins in every cache, so no late fill can undo a write or a deletion.
    Loads run in *background*, one a user at a time, however many readers wait.
    """

    def __init__(
        self,
        *,
        background: Background,
        near: InMemoryStore,
        caches: Sequence[CacheTier],
        origin: OriginTier,
        replica: ReplicaTier | None = None,
        policy: Policy | None = None,
        stale_wait: float = STALE_WAIT,
        stagger: float = STAGGER,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        counters: Counters | None = None,
        on_newer: Callable[[UserKey, Entry], None] = _ignore,
        is_open: Callable[[UserKey], bool] = lambda user: False,
    ) -> None:
        """Compose the tiers; clocks are parameters so that tests can own them. Times in seconds.

        *on_newer* hears of each entry that is newer than what process memory held. Users for whom *is_open* is true
        keep their floor for as long as it is.
        """
        self._policy = policy or Policy()
        self._counters = counters or Counters()
        self._near = near
        self._now = now
        self._monotonic = monotonic
        self._on_newer = on_newer
        self._floors = Floors(is_open)
        self._find, self._touch = near.find, near.touch
        self._tiers = Tiers(
            caches=caches,
            origin=origin,
            replica=replica,
            policy=self._policy,
            stale_wait=stale_wait,
            stagger=stagger,
            now=now,
            counters=self._counters,
        )
        self._reads = SingleFlight[UserKey, Read](background)
        self._refreshes = SingleFlight[UserKey, None](background)

    @property
    def caches(self) -> Sequence[CacheTier]:
        """This region's caches, nearest first."""
        return self._tiers.caches

    @property
    def origin(self) -> OriginTier:
        """Where all writes are ordered."""
        return self._tiers.origin

    @property
    def replica(self) -> ReplicaTier | None:
        """A copy of the origin nearby, if there is one."""
        return self._tiers.replica

    async def read(
        self,
        user: UserKey,
        at_least: int = 0,
        timeout: float = math.inf,
        beside: Beside = UNSET,
    ) -> Read:
        """Return the user's memory, no older than the policy allows, or degraded. Never raises for an outage.

        A fresh hit in process memory makes no task, takes no lock and awaits nothing. After *timeout* seconds the
        best that is known by then is returned, and the load goes on in the background. *beside* is what the outbox has
        brought along of the cache beside it.
        """
        # The hot path, counted in hundredths of a microsecond: keyword-only defaults alone would cost it a tenth.
        held = self._find(user)
        if held is not None and held.version >= at_least:
            now = self._monotonic()
            if now < held.fresh_until:
                self._touch(user)
                self._counters.reads_fresh += 1
                return Read(held.entry, "fresh", NEAR, now - held.true_at)
        read = await self._walked(user, max(at_least, self._floors.of(user).version), timeout, beside)
        self._count(read.status)
        if read.status != "degraded":
            self._floors.raise_to(user, read.snapshot)
        return read

    async def _walked(self, user: UserKey, at_least: int, timeout: float, beside: Beside) -> Read:
        def suits(read: Read | None) -> bool:
            return read is None or read.status == "degraded" or read.snapshot.version >= at_least

        deadline = anyio.current_time() + timeout
        while True:
            flight = self._reads.running(user)
            own = flight is None or (flight.landed and not (_looks_for_better(flight) and suits(flight.best)))
            if flight is None or own:
                flight = self._reads.start(user, lambda flight: self._load(flight, user, at_least, beside))
            landed = await flight.wait(deadline)
            if own or not landed or suits(flight.best):
                return self._newest(user, flight.best or NOTHING, at_least)

    async def _load(self, flight: Flight[Read], user: UserKey, at_least: int, beside: Beside) -> None:
        held = self._near.peek(user)
        erased_at = self._floors.of(user).erased_at
        walk = Walk(flight, self._tiers, user, at_least=at_least, erased_at=erased_at, beside=beside, hold=self.hold)
        if await walk.load(None if held is None else held.entry) == "stale":
            self.refresh(user)

    def _newest(self, user: UserKey, read: Read, at_least: int) -> Read:
        """Prefer process memory where it is newer: a write may have passed by while the load ran."""
        if read.status != "degraded" and read.snapshot.version < at_least:
            read = Read(read.entry, "degraded", read.tier, read.age)
        held = self._near.peek(user)
        if held is None or (read.entry is not None and held.order <= read.entry.order):
            return read
        now = self._now()
        verdict = decide(held.entry, self._policy, now=now, at_least=at_least)
        if verdict not in _ANSWERS:
            return read
        return Read(held.entry, _ANSWERS[verdict], NEAR, max(0.0, now - held.entry.synced_at))

    def _count(self, status: Status) -> None:
        match status:
            case "fresh":
                self._counters.reads_fresh += 1
            case "stale":
                self._counters.reads_stale += 1
            case "degraded":
                self._counters.reads_degraded += 1

    def deletion(self, user: UserKey) -> Snapshot:
        """Return what this process knows of the user's last deletion, as its tombstone: version 0 if nothing."""
        floor = self._floors.of(user)
        return Snapshot(version=floor.erased_at, exists=False, erased_at=floor.erased_at, erased_time=floor.erased_time)

    def refresh(self, user: UserKey) -> None:
        """Start to ask the replica and the origin, unless that is under way. `on_newer` hears what they say."""
        loading = self._reads.running(user)
        if loading is not None and not loading.landed:
            return  # its readers gave up waiting; it asks whoever there is to ask
        if self._refreshes.running(user) is None:
            self._refreshes.start(user, lambda _: refresh(self._tiers, user, self.hold))

    def hold(self, user: UserKey, entry: Entry, *, unconfirmed: float = 0.0, left: float = math.inf) -> None:
        """Keep *entry* in process memory, if it is the newest there, and not below the user's floor.

        *unconfirmed*: for how many seconds nobody but a near cache has said so. Near caches do not confirm each other.
        *left*: in how many they must drop it.
        """
        if entry.snapshot.version < self._floors.of(user).version:
            return
        held = self._near.peek(user)
        is_newer = held is None or entry.order > held.order
        now = self._now()
        self._near.hold(
            user,
            entry,
            keep=max(0.0, min(self._policy.near_keep - unconfirmed, left)),
            fresh_for=min(self._policy.near_ttl - unconfirmed, fresh_for(entry, self._policy, now=now)),
            age=max(0.0, now - entry.synced_at),
        )
        self._floors.raise_to(user, entry.snapshot)
        if is_newer:
            self._on_newer(user, entry)

    async def offer(self, user: UserKey, entry: Entry) -> dict[str, StoreError | None]:
        """Hold *entry*, and put it into each cache of the region at once, under its timeout.

        Return for each cache what went wrong, or `None`.
        """
        left = self._left(user, entry)
        self.hold(user, entry, left=left)
        outcomes: dict[str, StoreError | None] = {}

        async def one(tier: CacheTier) -> None:
            outcome = await self._tiers.offer(tier, user, entry, left)
            outcomes[tier.name] = outcome if isinstance(outcome, StoreError) else None
            if outcome is False:
                await self._learn(user, tier)

        async with anyio.create_task_group() as group:
            for tier in self._tiers.caches:
                group.start_soon(one, tier)
        return outcomes

    def _left(self, user: UserKey, entry: Entry) -> float:
        """Say in how many seconds near caches must drop *entry*, unless a lower tier confirms it.

        Only the origin gives versions: one that is known already was said here, over what was confirmed back then.
        Else each call that ends while nobody can be reached would keep its user, perhaps deleted, for longer.
        """
        if entry.snapshot.version > self._floors.of(user).version:
            return math.inf
        held = self._near.peek(user)
        return 0.0 if held is None else held.expires_at - self._monotonic()

    async def _learn(self, user: UserKey, tier: CacheTier) -> None:
        """Hold what a cache has that is newer: a deletion, perhaps, of which this process has not heard."""
        try:
            found = await tier.find(user)
        except StoreError:
            return
        if found is not None:
            self.hold(user, found.entry, unconfirmed=found.unconfirmed, left=found.left)


def _looks_for_better(flight: Flight[Read]) -> bool:
    """Landed with a stale answer, a load still asks. With another, it only fills: its answer gets older meanwhile."""
    return flight.best is not None and flight.best.status == "stale"


_ANSWERS: dict[Verdict, Status] = {Verdict.FRESH: "fresh", Verdict.STALE: "stale"}
