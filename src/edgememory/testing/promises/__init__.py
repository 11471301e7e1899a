"""The promises as checks: pure functions of a history, each of which yields what broke it.

They run on simulated worlds, on the lab and on processes that were killed; what a history does not have is not checked.
"""

from collections.abc import Callable, Iterator, Mapping

from edgememory.testing.history import History
from edgememory.testing.promises.deletion import deleted_stays_deleted
from edgememory.testing.promises.ending import agents_never_break, caches_converge, nothing_goes_on
from edgememory.testing.promises.reads import (
    one_load,
    reads_are_not_too_old,
    reads_never_go_back,
    reads_what_was_committed,
    reads_your_writes,
    sessions_see_their_own_changes,
)
from edgememory.testing.promises.writes import delivery_never_gets_stuck, nothing_is_lost, what_was_taken_stays

Check = Callable[[History], Iterator[str]]

PROMISES: Mapping[str, tuple[Check, ...]] = {
    "read your writes": (reads_your_writes, reads_what_was_committed, sessions_see_their_own_changes),
    "monotonic reads": (reads_never_go_back,),
    "bounded staleness": (reads_are_not_too_old,),
    "nothing acknowledged is lost": (nothing_is_lost, what_was_taken_stays),
    "no resurrection": (deleted_stays_deleted,),
    "one load": (one_load,),
    "convergence": (caches_converge,),
    "an agent never breaks": (agents_never_break,),
    "progress": (delivery_never_gets_stuck,),
    "nothing goes on after close": (nothing_goes_on,),
}
"""The eight of docs/promises.md, in its order, and two that go without saying."""


def violations(history: History) -> list[str]:
    """Return everything that broke a promise, each line with the check that says so."""
    return [f"{check.__name__}: {what}" for checks in PROMISES.values() for check in checks for what in check(history)]
