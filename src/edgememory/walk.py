"""One reading of one user through the tiers. `freshness.decide` judges; this asks what the verdicts call for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal, Protocol, assert_never

import anyio
from anyio import CancelScope
from msgspec import UNSET, Struct

from edgememory.errors import StoreError
from edgememory.freshness import Policy, Verdict, decide, newer
from edgememory.models import Beside, Confirmed, Entry, Snapshot, UserKey
from edgememory.single_flight import Flight
from edgememory.telemetry import Counters
from edgememory.tier import CacheTier, OriginTier, ReplicaTier

Status = Literal["fresh", "stale", "degraded"]

EMPTY = Snapshot(version=0, exists=False)
NEAR = "memory"


class Hold(Protocol):
    """Keeps what was found in process memory: as confirmed as it was."""

    def __call__(self, user: UserKey, entry: Entry, *, unconfirmed: float = 0.0, left: float = inf) -> None: ...


class Read(Struct, frozen=True, gc=False):
    """An answer: there always is one, an outage only makes it degraded."""

    entry: Entry | None
    """`None` where nothing at all could be learned: degraded."""
    status: Status
    tier: str
    """Which tier the entry came from; empty if there is none."""
    age: float
    """Seconds since the content was true at the origin."""

    @property
    def snapshot(self) -> Snapshot:
        """The user's memory; empty where nothing could be learned."""
        return EMPTY if self.entry is None else self.entry.snapshot


NOTHING = Read(entry=None, status="degraded", tier="", age=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """What there is to ask, in order, and the rules. Times in seconds."""

    caches: Sequence[CacheTier]
    origin: OriginTier
    replica: ReplicaTier | None
    policy: Policy
    stale_wait: float
    """For how long a stale answer waits for a fresh one: a cache's for the next caches, a replica's for the primary."""
    stagger: float
    """How far ahead of the primary a replica is asked."""
    now: Callable[[], float]
    counters: Counters

    async def offer(self, tier: CacheTier, user: UserKey, entry: Entry, left: float = inf) -> bool | StoreError:
        """Put *entry* into one cache, newer wins, and say whether it stands.

        Near caches must drop it in *left* seconds. What goes wrong is returned: a cache may always forget.
        """
        keep = tier.keep(entry, self.policy, left=left)
        try:
            return await tier.ask("put", lambda: tier.store.put(user, entry, keep=keep))
        except StoreError as error:
            tier.counters.offers_failed += 1
            return error

    async def offer_all(self, tiers: Sequence[CacheTier], user: UserKey, entry: Entry) -> None:
        """Offer *entry* to several caches at once."""
        async with anyio.create_task_group() as group:
            for tier in tiers:
                group.start_soon(self.offer, tier, user, entry)


async def refresh(tiers: Tiers, user: UserKey, hold: Hold) -> None:
    """Ask the replica and the primary, hold what each says, and offer the newest to every cache.

    A replica's word that there is no such user is no news: it may only be late.
    """
    newest: Entry | None = None

    async def ask(tier: ReplicaTier | OriginTier) -> None:
        nonlocal newest
        try:
            entry = await tier.get(user)
        except StoreError:
            return
        if entry is not None and (tier is tiers.origin or not _is_mere_absence(entry)):
            hold(user, entry)
            newest = newer(newest, entry)

    tiers.counters.refreshes += 1
    async with anyio.create_task_group() as group:
        group.start_soon(ask, tiers.origin)
        if tiers.replica is not None:
            group.start_soon(ask, tiers.replica)
    if newest is not None:
        await tiers.offer_all(tiers.caches, user, newest)


def _is_mere_absence(entry: Entry) -> bool:
    return not entry.snapshot.exists and not entry.snapshot.is_tombstone


class _Found(Struct, frozen=True, gc=False):
    entry: Entry
    tier: str
    unconfirmed: float = 0.0
    left: float = inf


def _newer(first: _Found | None, second: _Found) -> _Found:
    return second if first is None or second.entry.order > first.entry.order else first


class Walk:
    """What one walk has found so far, and which caches it found lacking."""

    def __init__(
        self,
        flight: Flight[Read],
        tiers: Tiers,
        user: UserKey,
        *,
        at_least: int,
        erased_at: int,
        beside: Beside,
        hold: Hold,
    ) -> None:
        """`hold` is called with each entry that may be served. What is below *erased_at* is not even a last resort.

        *beside* is what the cache beside the outbox has just said, if it has.
        """
        self._flight = flight
        self._tiers = tiers
        self._user = user
        self._at_least = at_least
        self._erased_at = erased_at
        self._beside = beside
        self._hold = hold
        self._candidate: _Found | None = None
        """The newest that answers."""
        self._best: _Found | None = None
        """The newest that answers if nothing better can be had."""
        self._final = False
        self._lacking: list[CacheTier] = []

    async def load(self, near: Entry | None) -> Status:
        """Find an answer, land it, and fill the caches above; say what it was. *near* is process memory's entry."""
        if near is not None:
            self._judge(_Found(near, NEAR))
        if await self._caches_are_fresh():
            status: Status = "fresh"
        elif self._candidate is not None:
            status = "stale"
        else:
            status = await self._ask_below()
        self._flight.land(self._read(status))
        if status == "fresh" and self._candidate is not None:
            await self._tiers.offer_all(self._lacking, self._user, self._candidate.entry)
        return status

    async def _caches_are_fresh(self) -> bool:
        """Ask the caches in turn until one is fresh. With a stale answer in hand, readers wait only `stale_wait`."""
        timing = fresh = False
        async with anyio.create_task_group() as group:
            for tier in self._tiers.caches:
                if self._candidate is not None and not timing:
                    timing = True
                    group.start_soon(self._land_stale_in_time)
                fresh = await self._ask_cache(tier) is Verdict.FRESH
                if fresh:
                    break
            group.cancel_scope.cancel()
        return fresh

    async def _land_stale_in_time(self) -> None:
        """Whoever is being asked is not cancelled: what it says late is held all the same."""
        await anyio.sleep(self._tiers.stale_wait)
        self._flight.land(self._read("stale"))

    async def _ask_cache(self, tier: CacheTier) -> Verdict | None:
        if tier.beside_outbox and self._beside is not UNSET:
            found = None if self._beside is None else Confirmed(self._beside)
        else:
            try:
                found = await tier.find(self._user, at_least=self._at_least)
            except StoreError:
                return None
        verdict = None if found is None else self._judge(_Found(found.entry, tier.name, found.unconfirmed, found.left))
        if verdict is not Verdict.FRESH:
            self._lacking.append(tier)
        return verdict

    async def _ask_below(self) -> Status:
        """Ask the replica; after the stagger, or once the replica has no good answer, the primary as well."""
        async with anyio.create_task_group() as group:
            if self._tiers.replica is not None:
                answered = anyio.Event()
                group.start_soon(self._ask_replica, self._tiers.replica, answered, group.cancel_scope)
                with anyio.move_on_after(self._tiers.stagger):
                    await answered.wait()
            await self._ask_primary()
            if self._final:
                group.cancel_scope.cancel()
        if self._candidate is None:
            return "degraded"
        fresh = self._final or self._verdict(self._candidate.entry) is Verdict.FRESH
        return "fresh" if fresh else "stale"

    async def _ask_replica(self, replica: ReplicaTier, answered: anyio.Event, others: CancelScope) -> None:
        """A replica's word that there is no such user only counts if nobody else answers: they may be newer."""
        try:
            entry = await replica.get(self._user, at_least=self._at_least)
        except StoreError:
            entry = None
        if entry is not None and _is_mere_absence(entry):
            self._fall_back_on(_Found(entry, replica.name))
        elif entry is not None and self._judge(_Found(entry, replica.name)) is Verdict.FRESH:
            others.cancel()
        answered.set()
        if self._candidate is not None:
            await self._land_stale_in_time()

    async def _ask_primary(self) -> None:
        """The primary's answer is final, whatever the clocks make of its age."""
        try:
            entry = await self._tiers.origin.get(self._user, at_least=self._at_least)
        except StoreError:
            return
        if entry is None:
            return
        self._final = True
        found = _Found(entry, self._tiers.origin.name)
        if entry.snapshot.version >= self._at_least:
            self._candidate = found
        self._fall_back_on(found)
        self._hold(self._user, entry)

    def _judge(self, found: _Found) -> Verdict:
        verdict = self._verdict(found.entry)
        policy = self._tiers.policy
        if verdict is Verdict.FRESH and found.unconfirmed >= policy.near_ttl:
            verdict = Verdict.STALE
        if found.tier != NEAR and verdict in (Verdict.FRESH, Verdict.STALE):  # process memory cannot confirm itself
            self._hold(self._user, found.entry, unconfirmed=found.unconfirmed, left=found.left)
        if found.entry.snapshot.is_tombstone and found.unconfirmed >= policy.near_keep:
            # Kept for what it keeps out. The user may be back, and deleted anew: that drops what is said over this one.
            self._at_least = max(self._at_least, found.entry.snapshot.version)
            verdict = Verdict.EXPIRED
        match verdict:
            case Verdict.FRESH | Verdict.STALE:
                self._candidate = _newer(self._candidate, found)
            case Verdict.BEHIND | Verdict.EXPIRED:
                self._fall_back_on(found)
            case Verdict.GONE:
                pass
            case _ as never:
                assert_never(never)
        self._flight.note(self._read("degraded"))
        return verdict

    def _fall_back_on(self, found: _Found) -> None:
        if found.entry.snapshot.version >= self._erased_at:
            self._best = _newer(self._best, found)

    def _verdict(self, entry: Entry) -> Verdict:
        return decide(entry, self._tiers.policy, now=self._tiers.now(), at_least=self._at_least)

    def _read(self, status: Status) -> Read:
        found = self._candidate or self._best
        if found is None:
            return NOTHING
        age = max(0.0, self._tiers.now() - found.entry.synced_at)
        return Read(found.entry, status, found.tier, age)
