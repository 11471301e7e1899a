"""What happened in one simulated world, in the order in which it happened. Times in seconds of its one true clock."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from msgspec import Struct

from edgememory.freshness import Policy
from edgememory.models import Snapshot


class Event(Struct, frozen=True, kw_only=True, tag=True):
    at: float
    """When it was over."""


class Of(Event, frozen=True, kw_only=True):
    """Something that a process did."""

    began: float
    process: str
    host: str
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
    form: str
    """`fact` or `message`: of messages, a snapshot shows the last ten."""
    text: str
    base: int | None
    started: float


class Saw(Of, frozen=True, kw_only=True):
    """A session was looked at while it was open."""

    session: str
    version: int
    texts: frozenset[str]
    ended: bool


class Left(Of, frozen=True, kw_only=True):
    session: str
    durable: bool
    ended: bool


class WasCommitted(Of, frozen=True, kw_only=True):
    """`Session.committed` returned."""

    session: str
    version: int


class Deleted(Of, frozen=True, kw_only=True):
    version: int
    cleared: frozenset[str]


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


class Restarted(Event, frozen=True, kw_only=True):
    """A region's cache lost everything."""

    region: str


class Died(Event, frozen=True, kw_only=True):
    process: str


class Closed(Event, frozen=True, kw_only=True):
    process: str
    background_errors: int


class Idled(Event, frozen=True, kw_only=True):
    """What was left in a host's outbox when its last process had had time enough after every fault had healed."""

    process: str
    waiting: int


class Drained(Event, frozen=True, kw_only=True):
    """What was left in a host's outbox after every fault had healed."""

    host: str
    waiting: int
    dead: frozenset[str]


class Converged(Event, frozen=True, kw_only=True):
    """What a store held of a user, a ttl after everything had healed, and what it should have held."""

    region: str
    store: str
    user: str
    held: str
    expected: str


E = TypeVar("E", bound=Event)


@dataclass
class History:
    """One world's events, and what a check needs to know of the world."""

    seed: int
    policy: Policy
    clock_error: float
    lag: float
    """The longest that a replica may lag behind."""
    replicated: frozenset[str] = frozenset()
    """Regions with a replica."""
    outboxes: dict[str, str] = field(default_factory=dict)
    """The outbox of each host."""
    cleared_after: float = 0.0
    """How long an edge may show what was deleted."""
    events: list[Event] = field(default_factory=list)
    final: dict[str, Snapshot] = field(default_factory=dict)
    """The full state of each user at the origin in the end."""

    def add(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> Iterator[E]:
        return (event for event in self.events if isinstance(event, kind))

    def encoded(self) -> bytes:
        """Return the same bytes for the same history."""
        return b"\n".join(msgspec.json.encode(event, order="deterministic") for event in self.events)


def texts_of(snapshot: Snapshot) -> frozenset[str]:
    return frozenset(fact.text for fact in snapshot.facts) | frozenset(message.text for message in snapshot.messages)
