"""The protocols that backends implement. Contracts for them are in `edgememory.testing`."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from edgememory.changes import Change
from edgememory.errors import StoreError
from edgememory.models import Awaiting, Claim, Committed, Confirmed, Depth, Entry, Message, Page, Pending, UserKey
from edgememory.recall.query import Candidates, Query


class MemoryStore(Protocol):
    """What every backend is: somewhere a user's entry can be read.

    Stores never judge freshness. `at_least` is a hint to a store that could wait for a version or ask elsewhere
    for it; the reader checks the answer in any case. Failures are `StoreError`s; bytes that are no entry are a
    `CorruptEntryError`.
    """

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None: ...

    async def warm(self) -> None:
        """Open a connection ahead of the first request, where there is one to open."""
        ...

    async def aclose(self) -> None: ...


class CacheStore(MemoryStore, Protocol):
    """A store that may forget, and that never goes back.

    `put` is newer-wins by `Entry.order`, atomically where the backend can, and says whether the entry stands (an
    equal one counts as standing, and is written again). `keep` is seconds until the backend may drop it.
    """

    @property
    def cleared_after(self) -> float:
        """Seconds in which some reader may still be shown what was there before a tombstone: 0 where none may."""
        ...

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]: ...
    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool: ...


class NearStore(CacheStore, Protocol):
    """A cache that only this host's processes fill: what it says is no second opinion.

    `TieredStore` believes it for `Policy.near_ttl` after a lower tier has confirmed an entry: as process memory.
    """

    async def find(self, user: UserKey) -> Confirmed | None:
        """Return what `get` would, for how long nobody has put it, and for how long it is still kept."""
        ...


@runtime_checkable
class LocalFile(Protocol):
    """A cache or an outbox that is a file of this host: it can be opened before there is an event loop."""

    def open(self) -> None:
        """Open it, made if need be, so that the first request need not. Blocks: a millisecond, seconds at worst."""
        ...


class SearchStore(Protocol):
    """Somewhere the whole history can be searched."""

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        """Return what promises most, at least *limit* where there are as many, to be ranked by `recall.rank`.

        Each message comes with the one before and the one after it in its conversation.
        """
        ...


class ReplicaStore(MemoryStore, SearchStore, Protocol):
    """Read-only copies of the origin, elsewhere. `get` and `search` ask the one that answers soonest."""

    async def get_each(self, user: UserKey) -> Mapping[str, Entry | StoreError]:
        """Return what each copy shows, by its name: a deletion is done where all show it."""
        ...


class ExtractionQueue(Protocol):
    """Which sessions await extraction: those whose `SessionEnded` was committed."""

    async def claim_extractions(self, namespace: str, *, lease: float, limit: int) -> Sequence[Awaiting]:
        """Take at most *limit*, longest-waiting first; nobody else is given them for *lease* seconds."""
        ...

    async def finish_extraction(self, awaiting: Awaiting, changes: Sequence[Change]) -> Committed | None:
        """Commit what was extracted, once: `None` if that was done before, or the user was deleted. Safe to repeat."""
        ...

    async def postpone_extraction(
        self, awaiting: Awaiting, *, seconds: float, error: str, gives_up: bool = False
    ) -> None:
        """Give one back, to be tried in *seconds*, or never again; *error* is kept with it.

        Does nothing if somebody else has claimed it since.
        """
        ...


class OriginStore(MemoryStore, SearchStore, ExtractionQueue, Protocol):
    """The store that orders all writes. `get` always answers: an absent user is an entry too."""

    async def check_embedder(self, model: str, dimensions: int) -> None:
        """Refuse, with a `ConfigError`, a model that the vectors here are not of."""
        ...

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry: ...

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        """Apply *changes* and add one to the version, whatever became of them. Safe to repeat."""
        ...

    async def delete(self, user: UserKey) -> Entry:
        """Erase the user and return the tombstone."""
        ...

    async def get_messages(
        self, user: UserKey, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        """Return the history, newest first."""
        ...


class Outbox(Protocol):
    """Changes that the origin has not acknowledged, durable, per user.

    Every method answers or raises within seconds: the writer and delivery wait for it, and for nothing else meanwhile.
    """

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        """Keep *changes*; durable when it returns. Appending a change twice keeps it once.

        Return what `pending` would say right afterwards, so that whoever leaves a session makes one request.
        """
        ...

    async def pending(self, user: UserKey) -> Pending:
        """Return what waits for delivery (leased or not), and the user's floor."""
        ...

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        """Lease at most *limit* users' changes for *lease* seconds, longest-waiting users first.

        A leased user is not handed to anybody else until its claim is settled (every change of it acknowledged or
        rejected) or the lease has run out.
        """
        ...

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        """Remove delivered changes; *version* becomes the user's floor, if it is above it.

        Valid after the lease ran out too: what the origin has, it has.
        """
        ...

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        """Move changes to the dead letters."""
        ...

    async def depth(self) -> Depth: ...
    async def aclose(self) -> None: ...
