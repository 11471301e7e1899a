"""What a session sees: the newest entry it knows, with the changes laid over it that the origin may not have."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from edgememory.apply import apply, bound, overlay
from edgememory.changes import Change
from edgememory.models import Entry, Snapshot
from edgememory.walk import EMPTY


@dataclass(slots=True, kw_only=True)
class View:
    """Pure: no clock, no I/O. A session's changes are kept for as long as it lasts, to be made on newer entries."""

    started: float
    """When the session began, in seconds since 1970."""
    snapshot: Snapshot = EMPTY
    base: int | None = None
    """The version that was seen last; `None` while nothing was."""
    waiting: dict[str, Change] = field(default_factory=dict[str, Change])
    """What other sessions left in the outbox, by id."""
    own: dict[str, Change] = field(default_factory=dict[str, Change])
    ended: bool = False
    adopted: bool = False
    entry: Entry | None = None
    """The newest that was seen."""
    _refused: set[str] = field(default_factory=set[str])

    @property
    def last_id(self) -> str:
        """What the ids of new changes must be above."""
        return self.snapshot.last_id

    def wait_for(self, changes: Iterable[Change]) -> None:
        """Take note of what waits in the outbox, and show it, also where no entry can be had.

        The outbox's answer may be older than the news that the origin refused some of it.
        """
        if noted := {change.id: change for change in changes if change.id not in self._refused}:
            self.waiting |= noted
            self._lay_over()

    def open_on(self, entry: Entry) -> None:
        """Take the entry that opening read. A deletion before that does not end the session: it saw nothing."""
        if self.entry is None or entry.order >= self.entry.order:
            self._show(entry)

    def adopt(self, entry: Entry) -> None:
        """Take a newer entry, unless its user was deleted under the session: then end.

        A session that has seen nothing and made nothing loses nothing, and goes on.
        """
        if self.ended or (self.entry is not None and entry.order <= self.entry.order):
            return
        saw_the_deleted = bool(self.own) if self.base is None else self.base < entry.snapshot.erased_at
        if saw_the_deleted and self.started < entry.snapshot.erased_time:
            self.ended = True
            self.own.clear()
            self.waiting.clear()
            self.snapshot = EMPTY
            return
        self.adopted = True
        self._show(entry)

    def make(self, change: Change) -> None:
        """Make a change of the session's own."""
        self.own[change.id] = change
        self.snapshot = bound(apply(self.snapshot, (change,)))

    def unmake(self, ids: Iterable[str]) -> None:
        """Take back what the origin has refused."""
        for id in ids:
            self._refused.add(id)
            self.own.pop(id, None)
            self.waiting.pop(id, None)
        self._lay_over()

    def tentative(self, seen: Entry, waiting: Iterable[Change], *, now: float) -> Entry:
        """Return the entry to show to others until the origin has the changes.

        *waiting* is what the outbox held after *seen* was: all else has been answered for.
        """
        return overlay(seen, [change for change in waiting if change.id not in self._refused], now=now)

    def _show(self, entry: Entry) -> None:
        self.entry = entry
        self.base = entry.snapshot.version
        self._lay_over()

    def _lay_over(self) -> None:
        if self.ended:
            return
        seen, changes = EMPTY if self.entry is None else self.entry.snapshot, self._changes()
        # An entry is bounded already, and opening on one that nothing waits for is what callers wait for.
        self.snapshot = bound(apply(seen, changes)) if changes else seen

    def _changes(self) -> Collection[Change]:
        return {**self.waiting, **self.own}.values()
