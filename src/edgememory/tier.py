"""A tier: one step of the read path, a store with its own timeout and circuit breaker."""

import logging
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from edgememory.breaker import Breaker
from edgememory.errors import CorruptEntryError, EdgeMemoryError, StoreError, StoreUnavailableError
from edgememory.freshness import Policy, keep_for
from edgememory.models import Confirmed, Entry, UserKey
from edgememory.store import CacheStore, MemoryStore, NearStore, OriginStore, ReplicaStore
from edgememory.telemetry import TierCounters

_log = logging.getLogger("edgememory")
S = TypeVar("S", bound=MemoryStore)
T = TypeVar("T")


FIRST_ANSWER = 0.15
"""Seconds that a tier has beyond its timeout until it has answered once: connecting takes several round trips, and a
call that comes as soon as its process is up is not to lose what the edge knows."""


@contextmanager
def store_timeout(seconds: float, *, store: str, operation: str) -> Generator[None]:
    """Turn *seconds* without an answer into `StoreUnavailableError`."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError as error:
        message = f"no answer within {seconds:g} s"
        raise StoreUnavailableError(message, store=store, operation=operation) from error


@dataclass(slots=True, kw_only=True)
class Tier(Generic[S]):
    """A store, how long it may take (seconds), and whether it is worth asking."""

    name: str
    store: S
    timeout: float
    breaker: Breaker = field(default_factory=Breaker)
    counters: TierCounters = field(default_factory=TierCounters)
    monotonic: Callable[[], float] = time.monotonic
    beside_outbox: bool = False
    """Whether the outbox brings this cache's entry along (`Pending.entry`), so that it need not be asked."""
    answered: bool = False
    """Whether it has answered before, or was warmed: then it is connected, and has no more than its timeout."""

    async def ask(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        """Await *request* within the timeout.

        Raises:
            StoreError: it failed, took too long, or was not made because the breaker is open.
        """
        if not self.breaker.allows(self.monotonic()):
            self.counters.skips += 1
            raise StoreUnavailableError("not asked: it failed just now", store=self.name, operation=operation)
        try:
            seconds = self.timeout if self.answered else self.timeout + FIRST_ANSWER
            with store_timeout(seconds, store=self.name, operation=operation):
                answer = await request()
        except StoreError as error:
            self._failed(error)
            raise
        except EdgeMemoryError:
            raise
        except Exception as error:  # a bug in the store or its driver must not hide what the other tiers know
            _log.exception("%s.%s failed as no store may", self.name, operation)
            unknown = StoreUnavailableError(repr(error), store=self.name, operation=operation)
            self._failed(unknown)
            raise unknown from error
        self.answered = True
        self.breaker.succeeded()
        return answer

    def _failed(self, error: StoreError) -> None:
        self.counters.failures += 1
        self.breaker.failed(self.monotonic())
        _log.debug("%s", error)

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        """Return the store's entry; bytes that are no entry are counted, and a miss.

        Raises:
            StoreError: as `ask`.
        """
        return await self._read(lambda: self.store.get(user, at_least=at_least))

    async def _read(self, request: Callable[[], Awaitable[T | None]]) -> T | None:
        try:
            return await self.ask("get", request)
        except CorruptEntryError as error:
            self.counters.corrupt += 1
            _log.warning("%s holds a damaged entry, treated as a miss: %s", self.name, error)
            return None

    async def find(self, user: UserKey, *, at_least: int = 0) -> Confirmed | None:
        """Do what `get` does, and say for how many seconds nobody has confirmed the answer.

        Raises:
            StoreError: as `ask`.
        """
        entry = await self.get(user, at_least=at_least)
        return None if entry is None else Confirmed(entry)

    def keep(self, entry: Entry, policy: Policy, *, left: float) -> float:
        """Return for how many seconds the store is to keep *entry*, which near caches must drop in *left*."""
        return keep_for(entry, policy)


CacheTier = Tier[CacheStore]


@dataclass(slots=True, kw_only=True)
class NearTier(CacheTier):
    """A cache of the host: what it says confirms nothing, and is kept for no longer than what is in process memory."""

    store: NearStore  # pyright: ignore[reportIncompatibleVariableOverride]  # set once, when it is made

    async def find(self, user: UserKey, *, at_least: int = 0) -> Confirmed | None:
        return await self._read(lambda: self.store.find(user))

    def keep(self, entry: Entry, policy: Policy, *, left: float) -> float:
        kept = keep_for(entry, policy)
        return kept if entry.snapshot.is_tombstone else min(kept, policy.near_keep, left)


OriginTier = Tier[OriginStore]
ReplicaTier = Tier[ReplicaStore]
