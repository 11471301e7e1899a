"""The stores of a simulated world, and its clocks: they outlive the processes, and the origin keeps a record."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from itertools import count

import anyio

from edgememory.apply import bound
from edgememory.changes import Change, FactRemembered
from edgememory.errors import StoreError, StoreRejectedError
from edgememory.models import Committed as Taken
from edgememory.models import Entry, Message, Page, Pending, Refused, Snapshot, UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from tests.simulation.history import Appended, Committed, History

START = 1_750_000_000.0
POISON = "poison"
"""A commit with a change of such a text is refused as a whole."""
REFUSED = "refused"
"""A change of such a text is refused alone."""


def true_time() -> float:
    return START + anyio.current_time()


clock: ContextVar[Callable[[], float]] = ContextVar("clock", default=true_time)
minted = count()


def simulated_uuid7() -> str:
    """Return what `uuid7` would on the host whose process asks: by its clock, and ever larger in a process."""
    millisecond = f"{int(clock.get()() * 1000):012x}"
    return f"{millisecond[:8]}-{millisecond[8:]}-7000-8000-{next(minted):012x}"


class Ledger:
    """The origin, and a record of each of its states. Refuses what is to be refused."""

    def __init__(self, history: History) -> None:
        self._origin = InMemoryOrigin(now=true_time)
        self._history = history
        self.states: dict[UserKey, list[tuple[float, Snapshot]]] = {}

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        return await self._origin.get(user)

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Taken:
        if any(_text(change).startswith(POISON) for change in changes):
            raise StoreRejectedError("poison", store="origin", operation="commit")
        refused = tuple(Refused(change.id, "refused") for change in changes if _text(change).startswith(REFUSED))
        good = [change for change in changes if not _text(change).startswith(REFUSED)]
        taken = await self._origin.commit(user, good)
        self._note(user, good, taken.dropped, refused)
        return Taken(taken.entry, taken.dropped, refused)

    async def delete(self, user: UserKey) -> Entry:
        tombstone = await self._origin.delete(user)
        self._note(user, (), (), ())
        return tombstone

    def state(self, user: UserKey) -> Snapshot:
        return self._origin.state(user)

    def _note(
        self, user: UserKey, changes: Sequence[Change], dropped: Sequence[str], refused: Sequence[Refused]
    ) -> None:
        state = self.state(user)
        self.states.setdefault(user, []).append((true_time(), bound(state)))
        self._history.add(
            Committed(
                at=true_time(),
                user=user.user_id,
                version=state.version,
                erased_at=state.erased_at,
                erased_time=state.erased_time,
                exists=state.exists,
                ids=tuple(change.id for change in changes),
                dropped=frozenset(dropped),
                refused=frozenset(refusal.id for refusal in refused),
            )
        )

    async def get_messages(
        self, user: UserKey, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        return await self._origin.get_messages(user, session_id=session_id, cursor=cursor, limit=limit)

    async def warm(self) -> None:
        return None

    async def aclose(self) -> None:
        return None


def _text(change: Change) -> str:
    return change.text if isinstance(change, FactRemembered) else ""


class LaggingReplica:
    """The origin as it was a while ago. `cut_off` stops it where it is."""

    def __init__(self, ledger: Ledger, lag: float) -> None:
        self._ledger = ledger
        self._lag = lag
        self._stopped_at: float | None = None

    def cut_off(self) -> None:
        self._stopped_at = self.position

    def catch_up(self) -> None:
        self._stopped_at = None

    @property
    def position(self) -> float:
        return true_time() - self._lag if self._stopped_at is None else self._stopped_at

    async def get_each(self, user: UserKey) -> Mapping[str, Entry | StoreError]:
        return {"near": await self.get(user)}

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        position = self.position
        snapshot = Snapshot(version=0, exists=False)
        for at, state in self._ledger.states.get(user, ()):
            if at <= position:
                snapshot = state
        return Entry(snapshot=snapshot, synced_at=round(position, 6))

    async def warm(self) -> None:
        return None

    async def aclose(self) -> None:
        return None


class RecordingOutbox(MemoryOutbox):
    """A host's outbox; it outlives the processes."""

    def __init__(self, host: str, history: History, now: Callable[[], float]) -> None:
        super().__init__(now=now)
        self.name = host
        self._history = history

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        pending = await super().append(user, changes)
        for change in changes:
            self._history.add(Appended(at=true_time(), host=self.name, id=change.id))
        return pending


class RegionCache(InMemoryStore):
    """A region's cache; it outlives the processes, and may restart empty."""

    def forget(self) -> None:
        for user in tuple(self._held):
            self._drop(user)
