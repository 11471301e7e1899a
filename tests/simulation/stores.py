"""The stores of a simulated world, and its clocks: they outlive the processes, and the origin keeps a record."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from itertools import count
from random import Random
from typing import TypeVar

import anyio

from edgememory.apply import bound
from edgememory.changes import Change, FactRemembered
from edgememory.errors import StoreError, StoreRejectedError
from edgememory.models import Committed as Taken
from edgememory.models import Confirmed, Entry, Message, Page, Pending, Refused, Snapshot, UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.testing.history import Appended, Committed, Evicted, History, Restored

START = 1_750_000_000.0
POISON = "poison"
"""A commit with a change of such a text is refused as a whole."""
REFUSED = "refused"
"""A change of such a text is refused alone."""


def true_time() -> float:
    return START + anyio.current_time()


class HostClock:
    """A host's clock: off by *skew* seconds, and set anew at times."""

    def __init__(self, skew: float) -> None:
        self.skew = skew

    def now(self) -> float:
        return true_time() + self.skew


class IdClock:
    """What a process makes ids by: its host's clock, which never goes back for that."""

    def __init__(self, clock: HostClock) -> None:
        self._clock = clock
        self._latest = 0

    def millisecond(self) -> int:
        self._latest = max(self._latest, int(self._clock.now() * 1000))
        return self._latest


id_clock: ContextVar[IdClock] = ContextVar("id_clock")
minted = count()


def simulated_uuid7() -> str:
    """Return what `uuid7` would on the host whose process asks: by its clock, and ever larger in a process."""
    millisecond = f"{id_clock.get().millisecond():012x}"
    return f"{millisecond[:8]}-{millisecond[8:]}-7000-8000-{next(minted):012x}"


class Ledger:
    """The origin, and a record of each of its full states. Refuses what is to be refused."""

    def __init__(self, history: History) -> None:
        self._origin = InMemoryOrigin(now=true_time)
        self._history = history
        self._states: dict[UserKey, list[tuple[float, Snapshot]]] = {}
        self._least: list[tuple[float, int]] = [(0.0, 0)]

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

    def state_at(self, user: UserKey, at: float) -> Snapshot:
        """Return the full state as it was."""
        absent = Snapshot(version=_last(self._least, at), exists=False)
        return _last([(0.0, absent), *self._states.get(user, ())], at)

    def restore(self, since: float) -> None:
        """Lose what came after *since*: it is in no backup."""
        self._origin.restored({user: self.state_at(user, since) for user in self._states})
        least = self.state(_NOBODY).version
        self._least.append((true_time(), least))
        for user, states in self._states.items():
            states.append((true_time(), self.state(user)))
        self._history.add(Restored(at=true_time(), since=since, least=least))

    def _note(
        self, user: UserKey, changes: Sequence[Change], dropped: Sequence[str], refused: Sequence[Refused]
    ) -> None:
        state = self.state(user)
        self._states.setdefault(user, []).append((true_time(), state))
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


_NOBODY = UserKey("nobody", "nobody")
_S = TypeVar("_S")


def _last(states: Iterable[tuple[float, _S]], at: float) -> _S:
    """Return the last of *states* that was there by then; the first always was."""
    return [state for since, state in states if since <= at][-1]


def _text(change: Change) -> str:
    return change.text if isinstance(change, FactRemembered) else ""


class _LaggingReplica:
    """The origin as it was a while ago. What it has once shown it never takes back."""

    def __init__(self, ledger: Ledger, lag: float) -> None:
        self._ledger = ledger
        self._usual = self._lag = lag
        self._is_cut_off = False
        self._reached = 0.0

    def cut_off(self) -> None:
        self.position()
        self._is_cut_off = True

    def fall_behind(self, lag: float) -> None:
        self.position()
        self._lag = lag

    def catch_up(self) -> None:
        self._is_cut_off = False
        self._lag = self._usual

    def position(self) -> float:
        if not self._is_cut_off:
            self._reached = max(self._reached, true_time() - self._lag)
        return self._reached

    def entry(self, user: UserKey) -> Entry:
        position = self.position()
        return Entry(snapshot=bound(self._ledger.state_at(user, position)), synced_at=round(position, 6))


SERVERS = ("near", "next")


class Replicas:
    """Two of them, of which one answers at a time: where the other takes over, reads jump, back as well as on."""

    def __init__(self, ledger: Ledger, random: Random) -> None:
        self.servers = {name: _LaggingReplica(ledger, random.choice((0.0, 0.5, 3.0))) for name in SERVERS}
        self._answers = SERVERS[0]

    def jump(self) -> None:
        self._answers = SERVERS[1 - SERVERS.index(self._answers)]

    def heal(self) -> None:
        for server in self.servers.values():
            server.catch_up()

    async def get_each(self, user: UserKey) -> Mapping[str, Entry | StoreError]:
        return {name: server.entry(user) for name, server in self.servers.items()}

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        return self.servers[self._answers].entry(user)

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


class HostCache(InMemoryStore):
    """What the processes of a host share; it outlives them, and evicts no tombstone."""

    def __init__(self) -> None:
        super().__init__(monotonic=anyio.current_time)

    async def found(self, user: UserKey) -> Confirmed | None:
        held, now = self.peek(user), anyio.current_time()
        return None if held is None else Confirmed(held.entry, now - held.true_at, held.expires_at - now)


class RegionCache(InMemoryStore):
    """A region's cache; it outlives the processes. It evicts what it likes, and may restart empty."""

    def __init__(self, region: str, history: History) -> None:
        super().__init__(monotonic=anyio.current_time)
        self._region = region
        self._history = history

    def held(self) -> tuple[UserKey, ...]:
        return tuple(self._held)

    def tombstones(self) -> tuple[UserKey, ...]:
        return tuple(user for user, held in self._held.items() if held.entry.snapshot.is_tombstone)

    def evict(self, users: Iterable[UserKey]) -> None:
        for user in users:
            self._drop(user)
            self._history.add(Evicted(at=true_time(), region=self._region, user=user.user_id))
