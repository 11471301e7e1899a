"""The least version that each user's next read must show, so that reads of one process never go back."""

from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from edgememory.models import Snapshot, UserKey

USERS = 100_000


class Floor(Struct, frozen=True, gc=False):
    """What a process knows of a user's versions, also when it holds nothing of the user any more."""

    version: int = 0
    """The newest that was seen: what is below it is served only degraded."""
    erased_at: int = 0
    """The last deletion that was seen: what is below it is never served."""
    erased_time: float = 0.0


_NONE = Floor()


class Floors:
    """Floors of the last 100,000 users, and of all whose session is open."""

    def __init__(self, is_open: Callable[[UserKey], bool], *, users: int = USERS) -> None:
        self._is_open = is_open
        self._users = users
        self._floors: OrderedDict[UserKey, Floor] = OrderedDict()

    def of(self, user: UserKey) -> Floor:
        """Return the user's floor; zeros if nothing is known."""
        return self._floors.get(user, _NONE)

    def raise_to(self, user: UserKey, seen: Snapshot) -> None:
        """Raise the user's floor; it never sinks."""
        floor = self.of(user)
        if seen.version > floor.version or seen.erased_at > floor.erased_at:
            floor = Floor(
                max(seen.version, floor.version),
                max(seen.erased_at, floor.erased_at),
                max(seen.erased_time, floor.erased_time),
            )
        self._floors[user] = floor
        self._floors.move_to_end(user)
        for _ in range(len(self._floors) - self._users):
            oldest, lowest = self._floors.popitem(last=False)
            if self._is_open(oldest):
                self._floors[oldest] = lowest
