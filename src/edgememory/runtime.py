"""What the sessions of one open `EdgeMemory` share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import anyio

from edgememory.background import Background
from edgememory.extract.extraction import Extraction
from edgememory.models import Entry, UserKey
from edgememory.outbox.delivery import Delivery, Settled
from edgememory.outbox.writer import OutboxWriter
from edgememory.recall.embedder import Embedder
from edgememory.store import Outbox
from edgememory.telemetry import Counters
from edgememory.tiered import TieredStore


class Listener(Protocol):
    """An open session, as the read and write paths see it."""

    def adopt(self, entry: Entry) -> None: ...
    def settle(self, settled: Settled) -> None: ...


@dataclass(slots=True)
class OpenSessions:
    """Who wants to hear of a user's newer entries, and of what became of the user's changes."""

    first: anyio.Event = field(default_factory=anyio.Event)
    """Set once one of them has been opened."""
    _listeners: dict[UserKey, list[Listener]] = field(default_factory=dict[UserKey, list[Listener]])

    def add(self, user: UserKey, listener: Listener) -> None:
        self._listeners.setdefault(user, []).append(listener)

    def remove(self, user: UserKey, listener: Listener) -> None:
        listeners = self._listeners[user]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[user]

    def of(self, user: UserKey) -> bool:
        """Say whether a session of *user* is open."""
        return user in self._listeners

    def adopt(self, user: UserKey, entry: Entry) -> None:
        for listener in tuple(self._listeners.get(user, ())):
            listener.adopt(entry)

    def settle(self, settled: Settled) -> None:
        for listener in tuple(self._listeners.get(settled.user, ())):
            listener.settle(settled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The parts that read and write for one process."""

    background: Background
    outbox: Outbox
    writer: OutboxWriter
    tiered: TieredStore
    delivery: Delivery
    delivers: bool
    """Whether this process empties the outbox, or leaves that to another one."""
    sessions: OpenSessions
    embedder: Embedder | None
    extraction: Extraction | None
    """`None` where there is no extractor."""
    counters: Counters
    now: Callable[[], float]
