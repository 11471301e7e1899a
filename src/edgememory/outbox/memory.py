"""An outbox in process memory: for tests, and for compositions that need not survive their process."""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from secrets import token_urlsafe
from time import time
from typing import TYPE_CHECKING

from msgspec import Struct, field

from edgememory.changes import Change
from edgememory.models import Claim, DeadLetter, Depth, Pending, UserKey
from edgememory.outbox.stored import UNREADABLE, decode, encode, portion
from edgememory.store import Outbox

FLOOR_SECONDS = 90 * 86_400.0
FLOORS = 100_000


class _Row(Struct, frozen=True):
    body: bytes
    appended_at: float


class _Box(Struct):
    rows: dict[str, _Row] = field(default_factory=dict[str, _Row])
    floor: int = 0
    used_at: float = 0.0
    due: float | None = None
    """Since when the user waits to be claimed; while it is leased, the end of the lease."""
    token: str | None = None
    lease: float = 0.0

    def is_claimable(self, now: float) -> bool:
        if not self.rows or self.due is None:
            return False
        # A lease that began more than its own length in the future was taken before the clock was set back.
        return self.token is None or self.due <= now or self.due - 2 * self.lease >= now

    def sorted(self) -> Iterator[tuple[str, bytes]]:
        return ((id, self.rows[id].body) for id in sorted(self.rows))


class MemoryOutbox:
    """An outbox that lives as long as this object. Closing it loses nothing: it can stand for a disk."""

    def __init__(self, *, now: Callable[[], float] = time) -> None:
        self._now = now
        # The least recently used first: `_used` keeps it so.
        self._boxes: dict[UserKey, _Box] = {}
        self._dead: list[DeadLetter] = []

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        if changes:
            self._append(user, changes)
        return self._pending(user)

    async def pending(self, user: UserKey) -> Pending:
        return self._pending(user)

    def _append(self, user: UserKey, changes: Sequence[Change]) -> None:
        now = self._now()
        box = self._used(user, now)
        box.due = now if box.due is None else box.due
        for change in changes:
            box.rows.setdefault(change.id, _Row(encode(change), now))

    def _pending(self, user: UserKey) -> Pending:
        box = self._boxes.get(user)
        if box is None:
            return Pending()
        changes = (decode(id, raw) for id, raw in box.sorted())
        return Pending(tuple(change for change in changes if change is not None), box.floor)

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        now = self._now()
        waiting = [(box.due or 0.0, user) for user, box in self._boxes.items() if box.is_claimable(now)]
        claims: list[Claim] = []
        for _, user in sorted(waiting, key=itemgetter(0)):
            if len(claims) == limit:
                break
            box = self._boxes[user]
            changes, unreadable = portion(box.sorted())
            self._bury(user, unreadable, UNREADABLE)
            if changes:
                box.token, box.lease, box.due = token_urlsafe(12), lease, now + lease
                claims.append(Claim(user, changes, box.token))
        return claims

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        box = self._used(claim.user, self._now())
        for id in ids:
            box.rows.pop(id, None)
        box.floor = max(box.floor, version)
        self._settle(claim)

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        self._bury(claim.user, ids, error)
        self._settle(claim)

    async def depth(self) -> Depth:
        waiting = [box for box in self._boxes.values() if box.rows]
        oldest = min((row.appended_at for box in waiting for row in box.rows.values()), default=None)
        return Depth(
            changes=sum(len(box.rows) for box in waiting),
            users=len(waiting),
            dead=len(self._dead),
            oldest_age=None if oldest is None else max(0.0, self._now() - oldest),
        )

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """Return what was given up, newest first."""
        return self._dead[: -limit - 1 : -1]

    async def aclose(self) -> None:
        return None

    def _settle(self, claim: Claim) -> None:
        box = self._boxes.get(claim.user)
        if box is None or box.token != claim.token:
            return
        if not any(change.id in box.rows for change in claim.changes):
            box.token, box.due = None, self._now() if box.rows else None

    def _bury(self, user: UserKey, ids: Sequence[str], error: str) -> None:
        box = self._boxes.get(user)
        for id in ids:
            row = None if box is None else box.rows.pop(id, None)
            if row is not None:
                self._dead.append(DeadLetter(user=user, id=id, body=row.body, error=error, at=self._now()))

    def _used(self, user: UserKey, now: float) -> _Box:
        box = self._boxes.pop(user, None) or _Box()
        box.used_at = now
        while self._boxes:
            oldest_user = next(iter(self._boxes))
            oldest = self._boxes[oldest_user]
            crowded = len(self._boxes) >= FLOORS or oldest.used_at < now - FLOOR_SECONDS
            if oldest.rows or not crowded:
                break
            del self._boxes[oldest_user]
        self._boxes[user] = box
        return box


if TYPE_CHECKING:
    _: type[Outbox] = MemoryOutbox
