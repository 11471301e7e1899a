"""What happened, event by event: what the promises are checked on, in a simulated world and in the real one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from edgememory.freshness import Policy
from edgememory.models import Snapshot

Form = Literal["fact", "forgotten", "message", "name", "preference", "summary"]


class Event(Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened. Times in seconds of one clock, which all events of a history share."""

    at: float
    """When it was over."""


class Of(Event, frozen=True, kw_only=True):
    """Something that a process did for a user."""

    began: float
    process: str
    host: str
    """Where its outbox is."""
    region: str
    user: str


class Got(Of, frozen=True, kw_only=True):
    """A read: what `EdgeMemory` or a session answered."""

    status: str
    tier: str
    version: int
    erased_at: int
    erased_time: float
    exists: bool
    texts: frozenset[str]
    """Every text of the answer. Of an opened session: of its snapshot, with what waits in the outbox."""
    at_least: int = 0
    session: str = ""


class Made(Of, frozen=True, kw_only=True):
    """A session changed something, and showed it."""

    session: str
    id: str
    form: Form
    """A snapshot shows the last ten messages, five summaries and one name. `forgotten` is to be shown no more."""
    text: str
    """Nothing else is of it."""
    base: int | None
    started: float
    refusable: bool = False
    """The origin is to refuse it."""


class Saw(Of, frozen=True, kw_only=True):
    """A session was looked at while it was open."""

    session: str
    version: int
    texts: frozenset[str]
    ended: bool


class Left(Of, frozen=True, kw_only=True):
    """A session was left."""

    session: str
    durable: bool
    ended: bool


class Flushed(Event, frozen=True, kw_only=True):
    """`EdgeMemory.flush` returned."""

    began: float
    process: str


class WasCommitted(Of, frozen=True, kw_only=True):
    """`Session.committed` returned."""

    session: str
    version: int


class Asked(Of, frozen=True, kw_only=True):
    """The origin was asked for a user's memory, whether or not the answer came."""

    at_least: int


class Deleted(Of, frozen=True, kw_only=True):
    """`delete_user` returned."""

    version: int
    cleared: frozenset[str]
    """The stores that the receipt calls cleared."""


class Broke(Of, frozen=True, kw_only=True):
    """Something was raised that no outage may raise."""

    error: str


class Appended(Event, frozen=True, kw_only=True):
    """A host's outbox has a change, whether or not the process heard so."""

    host: str
    id: str


class Committed(Event, frozen=True, kw_only=True):
    """The origin's state changed, whether or not anybody heard so."""

    user: str
    version: int
    erased_at: int
    erased_time: float
    exists: bool
    ids: tuple[str, ...]
    dropped: frozenset[str]
    refused: frozenset[str]


class Restored(Event, frozen=True, kw_only=True):
    """The origin went back to what it was at `since`, and every version rose to `least` or above."""

    since: float
    least: int


class Evicted(Event, frozen=True, kw_only=True):
    """A region's cache forgot what it held of a user, the tombstone of a deletion perhaps."""

    region: str
    user: str


class Died(Event, frozen=True, kw_only=True):
    """A process was killed: from then on it does nothing, and what it says is not heard."""

    process: str


class Closed(Event, frozen=True, kw_only=True):
    """An `EdgeMemory` was closed."""

    process: str
    background_errors: int
    running: int
    """What went on all the same: requests under way, or tasks."""


class Idled(Event, frozen=True, kw_only=True):
    """What was left in a host's outbox when its last process had had time enough after every fault had healed."""

    process: str
    waiting: int


class Drained(Event, frozen=True, kw_only=True):
    """What was left in a host's outbox in the end."""

    host: str
    waiting: int
    dead: frozenset[str]


class Converged(Event, frozen=True, kw_only=True):
    """What a store showed of a user, a ttl after everything had healed, and what it should have shown."""

    region: str
    store: str
    user: str
    held: str
    expected: str


E = TypeVar("E", bound=Event)


@dataclass(kw_only=True)
class History:
    """The events in the order in which they happened, and what a check needs to know of the world. Times in seconds.

    A history need not have every kind of event: what is not there is not checked.
    """

    policy: Policy = field(default_factory=Policy)
    clock_error: float = 0.0
    """The largest difference between two hosts' clocks."""
    late: float = 1e-6
    """How much later than told a timer may ring: of virtual time, rounding alone."""
    open_timeout: float = 0.5
    leave_timeout: float = 2.0
    longest_fault: float = 0.0
    """For how long a process may be unable to hear of a deletion."""
    longest_lag: float = 0.0
    """How far a replica may lag behind."""
    replicas: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """The names of each region's replicas, as `ReplicaStore.get_each` has them."""
    outboxes: dict[str, str] = field(default_factory=dict[str, str])
    """The outbox of each host."""
    cleared_after: float = 0.0
    """How long an edge may show what was deleted: `CacheStore.cleared_after`."""
    events: list[Event] = field(default_factory=list[Event])
    final: dict[str, Snapshot] = field(default_factory=dict[str, Snapshot])
    """The full state of each user at the origin in the end."""

    def add(self, event: Event) -> None:
        """Note that *event* happened."""
        self.events.append(event)

    def of(self, kind: type[E]) -> Iterator[E]:
        """Yield the events of one kind."""
        return (event for event in self.events if isinstance(event, kind))

    def encoded(self) -> bytes:
        """Return the same bytes for the same history."""
        return b"\n".join(msgspec.json.encode(event, order="deterministic") for event in self.events)


def texts_of(snapshot: Snapshot) -> frozenset[str]:
    """Return every text that *snapshot* shows: what `Got` and `Saw` note."""
    return frozenset(every_text_of(snapshot))


def every_text_of(snapshot: Snapshot) -> Iterator[str]:
    """Yield every text that *snapshot* shows, as often as it does."""
    yield from (item.text for items in (snapshot.facts, snapshot.messages, snapshot.summaries) for item in items)
    yield from (preference.value for preference in snapshot.preferences if isinstance(preference.value, str))
    if snapshot.name is not None:
        yield snapshot.name
