"""That an agent never breaks, that caches converge, and that nothing goes on once it is closed."""

from collections.abc import Iterator

from edgememory.testing.history import Broke, Closed, Converged, Got, History, Left


def agents_never_break(history: History) -> Iterator[str]:
    """A session always opens, and in time; it is always left in time; nothing is raised."""
    for broke in history.of(Broke):
        yield f"{broke}"
    for closed in history.of(Closed):
        if closed.background_errors:
            yield f"{closed}"
    for got in history.of(Got):
        if got.session and got.at - got.began > history.open_timeout + history.late:
            yield f"{got} took {got.at - got.began} s"
    for left in history.of(Left):
        if left.at - left.began > history.leave_timeout + history.late:
            yield f"{left} took {left.at - left.began} s"


def caches_converge(history: History) -> Iterator[str]:
    """Once everything has healed and a ttl has passed, every store that is read shows what the origin has."""
    for converged in history.of(Converged):
        if converged.held != converged.expected:
            yield f"{converged}"


def nothing_goes_on(history: History) -> Iterator[str]:
    """What is closed has no request under way, and no task."""
    for closed in history.of(Closed):
        if closed.running:
            yield f"{closed}"
