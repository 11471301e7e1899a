"""Stores that note what they were asked, and when: for the timeline of a call, and to count its requests."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from edgememory.changes import Change
from edgememory.errors import StoreError
from edgememory.lab.report import Service
from edgememory.models import Awaiting, Claim, Committed, Depth, Entry, Message, Page, Pending, UserKey
from edgememory.recall.query import Candidates, Query
from edgememory.store import CacheStore, OriginStore, Outbox, ReplicaStore

_T = TypeVar("_T")


class Request(Struct, frozen=True, gc=False):
    """One request of one user's, timed by `perf_counter`."""

    service: Service
    name: str
    user: UserKey
    started: float
    ended: float


@dataclass(slots=True)
class Record:
    """All requests of one agent, in the order in which they ended."""

    requests: list[Request] = field(default_factory=list[Request])

    async def note(self, service: Service, name: str, user: UserKey, request: Awaitable[_T]) -> _T:
        started = perf_counter()
        try:
            return await request
        finally:
            self.requests.append(Request(service, name, user, started, perf_counter()))


@dataclass(frozen=True, slots=True)
class RecordedCache:
    """A cache of the region."""

    store: CacheStore
    record: Record

    @property
    def cleared_after(self) -> float:
        return self.store.cleared_after

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        return await self.record.note("edge", "get", user, self.store.get(user, at_least=at_least))

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        return await self.store.get_many(users)

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        return await self.record.note("edge", "put", user, self.store.put(user, entry, keep=keep))

    async def warm(self) -> None:
        await self.store.warm()

    async def aclose(self) -> None:
        await self.store.aclose()


@dataclass(frozen=True, slots=True)
class RecordedReplica:
    """The copies of the origin nearby."""

    store: ReplicaStore
    record: Record

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        return await self.record.note("replica", "get", user, self.store.get(user, at_least=at_least))

    async def get_each(self, user: UserKey) -> Mapping[str, Entry | StoreError]:
        return await self.store.get_each(user)

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        return await self.record.note("replica", "search", user, self.store.search(user, query, limit=limit))

    async def warm(self) -> None:
        await self.store.warm()

    async def aclose(self) -> None:
        await self.store.aclose()


@dataclass(frozen=True, slots=True)
class RecordedOrigin:
    """The database far away."""

    store: OriginStore
    record: Record

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        return await self.record.note("geneva", "get", user, self.store.get(user, at_least=at_least))

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        return await self.record.note("geneva", "commit", user, self.store.commit(user, changes))

    async def delete(self, user: UserKey) -> Entry:
        return await self.record.note("geneva", "delete", user, self.store.delete(user))

    async def get_messages(
        self, user: UserKey, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        history = self.store.get_messages(user, session_id=session_id, cursor=cursor, limit=limit)
        return await self.record.note("geneva", "get_messages", user, history)

    async def check_embedder(self, model: str, dimensions: int) -> None:
        await self.store.check_embedder(model, dimensions)

    async def claim_extractions(self, namespace: str, *, lease: float, limit: int) -> Sequence[Awaiting]:
        return await self.store.claim_extractions(namespace, lease=lease, limit=limit)

    async def finish_extraction(self, awaiting: Awaiting, changes: Sequence[Change]) -> Committed | None:
        return await self.record.note(
            "geneva", "finish_extraction", awaiting.user, self.store.finish_extraction(awaiting, changes)
        )

    async def postpone_extraction(
        self, awaiting: Awaiting, *, seconds: float, error: str, gives_up: bool = False
    ) -> None:
        await self.store.postpone_extraction(awaiting, seconds=seconds, error=error, gives_up=gives_up)

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        return await self.record.note("geneva", "search", user, self.store.search(user, query, limit=limit))

    async def warm(self) -> None:
        await self.store.warm()

    async def aclose(self) -> None:
        await self.store.aclose()


@dataclass(frozen=True, slots=True)
class RecordedOutbox:
    """Claims are of no one user, and settling them is not what a call waits for: neither is noted."""

    store: Outbox
    record: Record

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        return await self.record.note("outbox", "append", user, self.store.append(user, changes))

    async def pending(self, user: UserKey) -> Pending:
        return await self.record.note("outbox", "pending", user, self.store.pending(user))

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        return await self.store.claim(lease=lease, limit=limit)

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        await self.store.ack(claim, ids, version)

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        await self.store.reject(claim, ids, error)

    async def depth(self) -> Depth:
        return await self.store.depth()

    async def aclose(self) -> None:
        await self.store.aclose()


if TYPE_CHECKING:
    _cache: type[CacheStore] = RecordedCache
    _replica: type[ReplicaStore] = RecordedReplica
    _origin: type[OriginStore] = RecordedOrigin
    _outbox: type[Outbox] = RecordedOutbox
