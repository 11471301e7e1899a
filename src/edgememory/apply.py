"""What changes do to a user's memory, and how memory is cut down to a snapshot.

Every change commutes with every other and may be applied again: messages and summaries are keyed by id; each fact,
preference and the name is a register that the largest change id wins. So neither the order of delivery nor a
repetition matters. The functions of `stores/postgres/sql` do the same; a property test holds the two together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TypeVar, assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edgememory.changes import (
    Change,
    FactForgotten,
    FactRemembered,
    FactsUsed,
    MessageAdded,
    NameSet,
    PreferenceSet,
    SessionEnded,
    SummaryAdded,
)
from edgememory.limits import LIMITS, Limits
from edgememory.models import Entry, Fact, Forgotten, Message, Preference, Snapshot, Summary

_by_id = attrgetter("id")
_MICROSECOND = 1e-6


def survives(change: Change, snapshot: Snapshot) -> bool:
    """Say whether *change* was made in knowledge of the user's last deletion, or after it.

    The origin and the overlay ask this of each change: what a deletion has overtaken is dropped in both alike.
    """
    if change.base is None:
        return change.session_started >= snapshot.erased_time
    return change.base >= snapshot.erased_at


def apply(state: Snapshot, changes: Iterable[Change]) -> Snapshot:
    """Return *state* with the surviving *changes* made, of the same version. Unbounded: see `bound`."""
    surviving = [change for change in changes if survives(change, state)]
    if not surviving:
        return state
    draft = _Draft(state)
    for change in surviving:
        draft.make(change)
    return draft.finished()


def overlay(entry: Entry, changes: Iterable[Change], *, now: float) -> Entry:
    """Lay changes that the origin has not acknowledged over *entry*: tentative, if it shows anything of them.

    An entry that has them all stays what it is: nothing would ever replace a tentative one of its version.
    """
    state = apply(entry.snapshot, changes)
    if state is entry.snapshot:
        return entry
    snapshot = bound(state)
    if snapshot == entry.snapshot:
        return entry
    tentative_at = max(round(now, 6), round(entry.tentative_at + _MICROSECOND, 6))
    return replace(entry, snapshot=snapshot, tentative_at=tentative_at)


def bound(state: Snapshot, limits: Limits = LIMITS) -> Snapshot:
    """Cut a full state down to a snapshot: counts first, then long texts, then the encoded size."""
    newest_preferences = sorted(state.preferences, key=_by_id, reverse=True)[: limits.preferences]
    counted = replace(
        state,
        preferences=tuple(sorted(newest_preferences, key=attrgetter("name"))),
        facts=state.facts[: limits.facts],
        former=(),
        forgotten=_without_text(state)[: limits.forgotten],
        summaries=state.summaries[-limits.summaries :],
        messages=tuple(shortened(message, limits) for message in state.messages[-limits.messages :]),
    )
    size = len(msgspec.json.encode(counted))
    return counted if size <= limits.snapshot else _fitted(counted, limits.snapshot)


def _without_text(state: Snapshot) -> tuple[Forgotten, ...]:
    """Return what must not come back: what was forgotten, and what was replaced, newest first."""
    if not state.former:
        return state.forgotten
    former = [Forgotten(key=fact.key, id=fact.id, used=fact.used, replaced=fact.replaced) for fact in state.former]
    return tuple(sorted((*state.forgotten, *former), key=_last_touched, reverse=True))


def _last_touched(gone: Fact | Forgotten) -> tuple[str, str]:
    return (max(gone.id, gone.replaced), gone.key)


def shortened(message: Message, limits: Limits = LIMITS) -> Message:
    """Return what a snapshot shows of a message: the first 8 KiB, and no metadata."""
    short = len(message.text) * 4 <= limits.message_in_snapshot
    encoded = b"" if short else message.text.encode()
    if len(encoded) > limits.message_in_snapshot:
        text = encoded[: limits.message_in_snapshot].decode(errors="ignore")
        return replace(message, text=text, metadata=None)
    return message if message.metadata is None else replace(message, metadata=None)


_Item = Preference | Fact | Forgotten | Summary | Message
_LIST_NAMES_BYTES = 100


def _fitted(snapshot: Snapshot, limit: int) -> Snapshot:
    """Fill the lists in turn, each best first, until the next item of each does not fit.

    Turns are fair: neither long messages nor many facts crowd out the rest.
    """
    bare = replace(snapshot, preferences=(), facts=(), forgotten=(), summaries=(), messages=())
    room = limit - len(msgspec.json.encode(bare)) - _LIST_NAMES_BYTES
    offered: list[Iterator[_Item]] = [
        iter(sorted(snapshot.preferences, key=_by_id, reverse=True)),
        iter(snapshot.facts),
        reversed(snapshot.messages),
        reversed(snapshot.summaries),
        iter(snapshot.forgotten),
    ]
    taken: list[_Item] = []
    while offered:
        for items in tuple(offered):
            item = next(items, None)
            size = 0 if item is None else len(msgspec.json.encode(item)) + 1
            if item is None or size > room:
                offered.remove(items)
                continue
            taken.append(item)
            room -= size
    return replace(
        bare,
        preferences=_those(Preference, taken, attrgetter("name")),
        facts=_those(Fact, taken),
        forgotten=_those(Forgotten, taken),
        summaries=_those(Summary, taken, _by_id),
        messages=_those(Message, taken, _by_id),
    )


_T = TypeVar("_T")


def _those(kind: type[_T], items: Sequence[_Item], order: Callable[[_T], str] | None = None) -> tuple[_T, ...]:
    chosen = [item for item in items if isinstance(item, kind)]
    return tuple(chosen if order is None else sorted(chosen, key=order))


class _FactRegister(Struct):
    """Two registers in one: what was last said of a fact, and what last took its place."""

    id: str = ""
    text: str | None = None
    importance: int = 0
    used: str = ""
    replaced: str = ""

    def replaced_by(self) -> str:
        """Return the change that took its place, unless it was said again after that."""
        return self.replaced if self.replaced > self.id else ""


class _Draft:
    """A snapshot taken apart, so that many changes cost one pass."""

    def __init__(self, state: Snapshot) -> None:
        self._state = state
        self._last_id = state.last_id
        self._name, self._name_id = state.name, state.name_id
        self._preferences = {preference.name: preference for preference in state.preferences}
        self._messages = {message.id: message for message in state.messages}
        self._summaries = {summary.id: summary for summary in state.summaries}
        self._facts = {
            fact.key: _FactRegister(fact.id, fact.text, fact.importance, fact.used, fact.replaced)
            for fact in (*state.facts, *state.former)
        }
        for gone in state.forgotten:
            self._facts[gone.key] = _FactRegister(id=gone.id, used=gone.used, replaced=gone.replaced)

    def make(self, change: Change) -> None:
        self._last_id = max(self._last_id, change.id)
        match change:
            case MessageAdded():
                self._messages.setdefault(change.id, message_of(change))
            case SummaryAdded(id=id, session_id=session_id, text=text):
                self._summaries.setdefault(id, Summary(id=id, session_id=session_id, text=text))
            case NameSet(id=id, name=name):
                if id > self._name_id:
                    self._name, self._name_id = name, id
            case PreferenceSet(id=id, name=name, value=value):
                held = self._preferences.get(name)
                if held is None or id > held.id:
                    self._preferences[name] = Preference(name=name, id=id, value=value)
            case FactRemembered(id=id, key=key):
                if change.replaces is not None and change.replaces != key:
                    register = self._facts.setdefault(change.replaces, _FactRegister())
                    register.replaced = max(register.replaced, id)
                self._set_fact(key, id, change.text, change.importance)
            case FactForgotten(id=id, key=key):
                self._set_fact(key, id, None, 0)
            case FactsUsed(id=id, keys=keys):
                for key in keys:
                    register = self._facts.setdefault(key, _FactRegister())
                    register.used = max(register.used, id)
            case SessionEnded():
                pass  # an origin keeps it, but shows nobody
            case _ as never:
                assert_never(never)

    def _set_fact(self, key: str, id: str, text: str | None, importance: int) -> None:
        register = self._facts.setdefault(key, _FactRegister())
        if id > register.id:
            register.id, register.text, register.importance = id, text, importance

    def finished(self) -> Snapshot:
        facts = [
            Fact(
                key=key,
                id=held.id,
                text=held.text,
                importance=held.importance,
                used=held.used,
                replaced=held.replaced_by(),
            )
            for key, held in self._facts.items()
            if held.text is not None
        ]
        forgotten = [
            Forgotten(key=key, id=held.id, used=held.used, replaced=held.replaced_by())
            for key, held in self._facts.items()
            if held.text is None
        ]
        return replace(
            self._state,
            exists=True,
            last_id=self._last_id,
            name=self._name,
            name_id=self._name_id,
            preferences=tuple(sorted(self._preferences.values(), key=attrgetter("name"))),
            facts=tuple(sorted((fact for fact in facts if not fact.replaced), key=_rank, reverse=True)),
            former=tuple(sorted((fact for fact in facts if fact.replaced), key=_last_touched, reverse=True)),
            forgotten=tuple(sorted(forgotten, key=_last_touched, reverse=True)),
            summaries=tuple(sorted(self._summaries.values(), key=_by_id)),
            messages=tuple(sorted(self._messages.values(), key=_by_id)),
        )


def _rank(fact: Fact) -> tuple[int, str, str]:
    """Importance first; among equals, what was said or used last. The key makes the order total."""
    return (fact.importance, max(fact.id, fact.used), fact.key)


def message_of(change: MessageAdded) -> Message:
    """Return what was said as an origin keeps it."""
    return Message(
        id=change.id,
        session_id=change.session_id,
        role=change.role,
        text=change.text,
        at=change.at,
        interrupted=change.interrupted,
        agent_id=change.agent_id,
        metadata=change.metadata,
    )
