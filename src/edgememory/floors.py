"""The least version that each user's next read must show, so that reads of one process never go back."""

from collections import OrderedDict
from collections.abc import Callable

from edgememory.models import UserKey

USERS = 100_000


class Floors:
    """Versions of the last 100,000 users, and of all whose session is open."""

    def __init__(self, is_open: Callable[[UserKey], bool]) -> None:
        self._is_open = is_open
        self._floors: OrderedDict[UserKey, int] = OrderedDict()

    def of(self, user: UserKey) -> int:
        """Return the user's floor; 0 if there is none."""
        return self._floors.get(user, 0)

    def raise_to(self, user: UserKey, version: int) -> None:
        """Raise the user's floor; it never sinks."""
        self._floors[user] = max(version, self._floors.get(user, 0))
        self._floors.move_to_end(user)
        for _ in range(len(self._floors) - USERS):
            oldest, floor = self._floors.popitem(last=False)
            if self._is_open(oldest):
                self._floors[oldest] = floor
