"""Cloudflare as it may be: an object for each user, KV written behind it, and locations that cache what they read.

Its times are those of the Worker, made shorter: worlds last for a minute.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, TypeVar

import anyio

from edgememory.changes import Change
from edgememory.errors import StoreError
from edgememory.freshness import newer
from edgememory.models import Claim, Depth, Entry, Pending, UserKey
from edgememory.store import CacheStore, Outbox
from edgememory.stores.memory import InMemoryStore
from edgememory.testing.faults import Link
from edgememory.tier import store_timeout
from tests.simulation.stores import RecordingOutbox

PATIENCE = 0.025
SILENCE = 5.0
SPREADS_WITHIN = 4.0
CACHED = 4.0
RETRIED = 2.0
GUARD = 5.0
"""An outbox answers or raises within seconds."""

T = TypeVar("T")


@dataclass
class _Written:
    """What KV has of one user: all writes, with the moment of each."""

    writes: list[tuple[float, Entry]] = field(default_factory=list)
    at: float = -SILENCE
    waiting: Entry | None = None
    due: float = 0.0


class Objects:
    """One a user, and KV behind all of them."""

    def __init__(self, outbox: RecordingOutbox) -> None:
        self.entries = InMemoryStore(monotonic=anyio.current_time)
        self.outbox = outbox
        self.kv_refuses = False
        """As it does a second write within a second."""
        self._kv: dict[UserKey, _Written] = {}

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        if not await self.entries.put(user, entry, keep=keep):
            return False
        written, now = self._brought_up_to_date(user), anyio.current_time()
        written.waiting = entry
        written.due = now if entry.snapshot.is_tombstone or now >= written.at + SILENCE else now + SILENCE
        self._brought_up_to_date(user)
        return True

    def in_kv(self, user: UserKey) -> Sequence[tuple[float, Entry]]:
        """Return all that was written, and when."""
        return self._brought_up_to_date(user).writes

    def _brought_up_to_date(self, user: UserKey) -> _Written:
        written = self._kv.setdefault(user, _Written())
        if written.waiting is None or written.due > anyio.current_time():
            return written
        if self.kv_refuses and not written.waiting.snapshot.is_tombstone:
            written.due = anyio.current_time() + RETRIED
            return written
        written.at = written.due
        written.writes.append((written.at, written.waiting))
        written.waiting = None
        return written


class Location:
    """The Worker where a region's agents reach it: `newest` in worker.js."""

    cleared_after = SPREADS_WITHIN + CACHED

    def __init__(self, objects: Objects, to_object: Link, random: Random) -> None:
        self._objects = objects
        self._to_object = to_object
        self._random = random
        self._cached: dict[UserKey, tuple[float, Entry | None]] = {}
        self._delays: dict[tuple[UserKey, float], float] = {}
        """How long each write takes until it is seen here: one may overtake another."""

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        try:
            with anyio.fail_after(PATIENCE):
                from_object = await self._from_object(user)
        except (TimeoutError, StoreError):
            from_kv = self._in_kv(user)
            if from_kv is not None and from_kv.snapshot.version >= at_least:
                return from_kv
            try:
                return await self._from_object(user)
            except StoreError:
                if from_kv is None:
                    raise
                return from_kv
        return self._in_kv(user) if from_object is None else from_object

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        found = {user: self._in_kv(user) for user in users}
        return {user: entry for user, entry in found.items() if entry is not None}

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        return await self._to_object.carry("put", lambda: self._objects.put(user, entry, keep=keep))

    async def warm(self) -> None:
        return None

    async def aclose(self) -> None:
        return None

    async def _from_object(self, user: UserKey) -> Entry | None:
        return await self._to_object.carry("get", lambda: self._objects.entries.get(user))

    def _in_kv(self, user: UserKey) -> Entry | None:
        """What was absent is cached as absent."""
        now = anyio.current_time()
        until, entry = self._cached.get(user, (now, None))
        if until <= now:
            entry = self._seen(user, now)
            self._cached[user] = (now + CACHED, entry)
        return entry

    def _seen(self, user: UserKey, now: float) -> Entry | None:
        seen: Entry | None = None
        for at, entry in self._objects.in_kv(user):
            delay = self._delays.setdefault((user, at), self._random.uniform(0, SPREADS_WITHIN))
            if at + delay <= now:
                seen = newer(seen, entry)
        return seen


class OutboxThere:
    """The outbox in the objects, where a region's agents reach it: what waits comes with the entry."""

    def __init__(self, objects: Objects, to_object: Link) -> None:
        self._objects = objects
        self._outbox = objects.outbox
        self._to_object = to_object

    async def _asked(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        with store_timeout(GUARD, store="outbox", operation=operation):
            return await self._to_object.carry(operation, request)

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        return await self._asked("append", lambda: self._outbox.append(user, changes))

    async def pending(self, user: UserKey) -> Pending:
        return await self._asked("pending", lambda: self._pending(user))

    async def _pending(self, user: UserKey) -> Pending:
        pending = await self._outbox.pending(user)
        return Pending(pending.changes, pending.floor, await self._objects.entries.get(user))

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        return await self._asked("claim", lambda: self._outbox.claim(lease=lease, limit=limit))

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        await self._asked("ack", lambda: self._outbox.ack(claim, ids, version))

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        await self._asked("reject", lambda: self._outbox.reject(claim, ids, error))

    async def depth(self) -> Depth:
        return await self._asked("depth", self._outbox.depth)

    async def aclose(self) -> None:
        return None


if TYPE_CHECKING:
    _cache: type[CacheStore] = Location
    _outbox: type[Outbox] = OutboxThere
