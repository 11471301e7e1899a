"""Stores behind a way that is slow, cut, silent or forgetful: to see what becomes of an agent then."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio

from edgememory.changes import Change
from edgememory.errors import StoreBlockedError, StoreError, StoreUnavailableError
from edgememory.models import Awaiting, Claim, Committed, Depth, Entry, Message, Page, Pending, UserKey
from edgememory.recall.query import Candidates, Query
from edgememory.store import CacheStore, OriginStore, Outbox, ReplicaStore

T = TypeVar("T")


class Way(Protocol):
    """How a request gets to a store and its answer back."""

    async def carry(self, operation: str, request: Callable[[], Awaitable[T]]) -> T: ...


@dataclass(slots=True, kw_only=True)
class Link:
    """A way, and what is wrong with it at the moment. Times in seconds; shares from 0 to 1, of *random*."""

    store: str
    random: Random = field(default_factory=Random)
    latency: float = 0.0
    """One way; each request takes anything from half of it to half as much again."""
    down: bool = False
    """Requests fail at once and are not done."""
    hangs: bool = False
    """Requests and answers get lost: whoever waits, waits until it gives up."""
    slow: float = 0.0
    """What each way takes beyond the latency."""
    refuses_writes: bool = False
    """As a full disk does."""
    drops: float = 0.0
    """The share of requests that fail and are not done."""
    loses_answers: float = 0.0
    """The share of requests that are done, and fail all the same."""

    def heal(self) -> None:
        """Be an ordinary link again, of the same latency."""
        self.down = self.hangs = self.refuses_writes = False
        self.slow = self.drops = self.loses_answers = 0.0

    async def carry(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        await self._travel()
        if self.down or self._happens(self.drops):
            raise StoreUnavailableError("connection refused", store=self.store, operation=operation)
        if self.refuses_writes and operation in _WRITES:
            raise StoreBlockedError("full", store=self.store, operation=operation)
        answer = await request()
        await self._travel()
        if self._happens(self.loses_answers):
            raise StoreUnavailableError("connection lost", store=self.store, operation=operation)
        return answer

    async def _travel(self) -> None:
        await anyio.sleep(self.slow + self.latency * self.random.uniform(0.5, 1.5))
        if self.hangs:
            await anyio.sleep_forever()

    def _happens(self, share: float) -> bool:
        return share > 0 and self.random.random() < share


_WRITES = ("put", "commit", "delete", "append", "finish_extraction")


class DistantReplica:
    """Copies of the origin, all behind one way. Closing it does nothing: the store outlives who reads it."""

    def __init__(self, store: ReplicaStore, way: Way) -> None:
        self._store = store
        self._way = way

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        return await self._way.carry("get", lambda: self._store.get(user, at_least=at_least))

    async def get_each(self, user: UserKey) -> Mapping[str, Entry | StoreError]:
        return await self._way.carry("get_each", lambda: self._store.get_each(user))

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        return await self._way.carry("search", lambda: self._store.search(user, query, limit=limit))

    async def warm(self) -> None:
        await self._way.carry("warm", self._store.warm)

    async def aclose(self) -> None:
        return None


class DistantCache:
    """A cache behind a way. Closing it does nothing: the cache outlives who uses it."""

    def __init__(self, store: CacheStore, way: Way) -> None:
        self._store = store
        self._way = way

    @property
    def cleared_after(self) -> float:
        return self._store.cleared_after

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        return await self._way.carry("get", lambda: self._store.get(user, at_least=at_least))

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        return await self._way.carry("get_many", lambda: self._store.get_many(users))

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        return await self._way.carry("put", lambda: self._store.put(user, entry, keep=keep))

    async def warm(self) -> None:
        await self._way.carry("warm", self._store.warm)

    async def aclose(self) -> None:
        return None


class DistantOrigin:
    """An origin behind a way. Closing it does nothing: the origin outlives who uses it."""

    def __init__(self, store: OriginStore, way: Way) -> None:
        self._store = store
        self._way = way

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        return await self._way.carry("get", lambda: self._store.get(user, at_least=at_least))

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        return await self._way.carry("commit", lambda: self._store.commit(user, changes))

    async def delete(self, user: UserKey) -> Entry:
        return await self._way.carry("delete", lambda: self._store.delete(user))

    async def get_messages(
        self, user: UserKey, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        return await self._way.carry(
            "get_messages",
            lambda: self._store.get_messages(user, session_id=session_id, cursor=cursor, limit=limit),
        )

    async def check_embedder(self, model: str, dimensions: int) -> None:
        await self._way.carry("check_embedder", lambda: self._store.check_embedder(model, dimensions))

    async def claim_extractions(self, namespace: str, *, lease: float, limit: int) -> Sequence[Awaiting]:
        return await self._way.carry(
            "claim_extractions", lambda: self._store.claim_extractions(namespace, lease=lease, limit=limit)
        )

    async def finish_extraction(self, awaiting: Awaiting, changes: Sequence[Change]) -> Committed | None:
        return await self._way.carry("finish_extraction", lambda: self._store.finish_extraction(awaiting, changes))

    async def postpone_extraction(
        self, awaiting: Awaiting, *, seconds: float, error: str, gives_up: bool = False
    ) -> None:
        return await self._way.carry(
            "postpone_extraction",
            lambda: self._store.postpone_extraction(awaiting, seconds=seconds, error=error, gives_up=gives_up),
        )

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        return await self._way.carry("search", lambda: self._store.search(user, query, limit=limit))

    async def warm(self) -> None:
        await self._way.carry("warm", self._store.warm)

    async def aclose(self) -> None:
        return None


class DistantOutbox:
    """An outbox behind a way. Closing it does nothing: the outbox outlives who uses it."""

    def __init__(self, outbox: Outbox, way: Way) -> None:
        self._outbox = outbox
        self._way = way

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        return await self._way.carry("append", lambda: self._outbox.append(user, changes))

    async def pending(self, user: UserKey) -> Pending:
        return await self._way.carry("pending", lambda: self._outbox.pending(user))

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        return await self._way.carry("claim", lambda: self._outbox.claim(lease=lease, limit=limit))

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        await self._way.carry("ack", lambda: self._outbox.ack(claim, ids, version))

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        await self._way.carry("reject", lambda: self._outbox.reject(claim, ids, error))

    async def depth(self) -> Depth:
        return await self._way.carry("depth", self._outbox.depth)

    async def aclose(self) -> None:
        return None


if TYPE_CHECKING:
    _replica: type[ReplicaStore] = DistantReplica
    _cache: type[CacheStore] = DistantCache
    _origin: type[OriginStore] = DistantOrigin
    _outbox: type[Outbox] = DistantOutbox
    _way: type[Way] = Link
