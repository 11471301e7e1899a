"""The promises, as pure functions of a history: each yields what broke it."""

from collections.abc import Callable, Iterator

from tests.simulation.checks_of_reads import (
    reads_are_not_too_old,
    reads_never_go_back,
    reads_what_was_committed,
    reads_your_writes,
    sessions_see_their_own_changes,
    survives,
)
from tests.simulation.history import (
    Appended,
    Broke,
    Closed,
    Committed,
    Converged,
    Deleted,
    Drained,
    Got,
    History,
    Idled,
    Left,
    Made,
    Restarted,
)
from tests.simulation.stores import POISON, REFUSED
from tests.simulation.world import LONGEST_FAULT

Check = Callable[[History], Iterator[str]]
_INSTANT = 1e-6
OPEN_TIMEOUT = 0.5
LEAVE_TIMEOUT = 2.0


def violations(history: History) -> list[str]:
    """Return everything that broke a promise."""
    return [f"{check.__name__}: {what}" for check in CHECKS for what in check(history)]


def nothing_is_lost(history: History) -> Iterator[str]:
    """What was durable is in the origin once, dropped by a deletion, or a dead letter; and no outbox holds it."""
    appended = {event.id for event in history.of(Appended)}
    dead = {id for drained in history.of(Drained) for id in drained.dead}
    refused = {id for committed in history.of(Committed) for id in committed.refused}
    made = {change.id: change for change in history.of(Made)}
    durable = {left.session for left in history.of(Left) if left.durable and not left.ended}
    for id, change in made.items():
        if change.session in durable and id not in appended:
            yield f"{change} was called durable, and no outbox ever had it"
    for id in appended & made.keys():
        change = made[id]
        state = history.final[change.user]
        texts = [item.text for item in (*state.facts, *state.messages)]
        if change.text.startswith((POISON, REFUSED)):
            if id not in dead and not _may_be_dropped(history, change):
                yield f"{change} is no dead letter"
        elif id in dead or id in refused:
            yield f"{change} was refused"
        elif texts.count(change.text) != 1 and survives(change, state.erased_at, state.erased_time):
            yield f"{change} is at the origin {texts.count(change.text)} times"
    for drained in history.of(Drained):
        if drained.waiting:
            yield f"{drained} still waits"


def delivery_never_gets_stuck(history: History) -> Iterator[str]:
    """A process that goes on delivers everything, once the faults have healed."""
    for idled in history.of(Idled):
        if idled.waiting:
            yield f"{idled}"


def _may_be_dropped(history: History, change: Made) -> bool:
    state = history.final[change.user]
    return not survives(change, state.erased_at, state.erased_time)


def what_was_taken_stays(history: History) -> Iterator[str]:
    """The origin never drops a change that a deletion had not overtaken."""
    made = {change.id: change for change in history.of(Made)}
    for committed in history.of(Committed):
        for id in committed.dropped & made.keys():
            if survives(made[id], committed.erased_at, committed.erased_time):
                yield f"{made[id]} was dropped by {committed}"


def deleted_stays_deleted(history: History) -> Iterator[str]:
    """After `delete_user` returned, nobody in the region is shown what it deleted."""
    changes = {change.text: change for change in history.of(Made)}
    restarts = list(history.of(Restarted))
    reads = list(history.of(Got))
    lefts = list(history.of(Left))
    for deleted in history.of(Deleted):
        state = next(c for c in history.of(Committed) if c.user == deleted.user and c.version == deleted.version)
        for got in reads:
            if got.user != deleted.user or got.region != deleted.region or got.began <= deleted.at:
                continue
            if got.tier == "" and got.process != deleted.process:
                continue  # nothing could be read: it shows what waits in its own outbox, not knowing of the deletion
            restarted = any(r.region == got.region and deleted.began <= r.at <= got.at for r in restarts)
            if "edge" not in deleted.cleared or restarted or _effective(history, deleted, got, lefts) > got.began:
                continue
            for text in got.texts & changes.keys():
                if not survives(changes[text], state.erased_at, state.erased_time):
                    yield f"{got} shows {changes[text]}, deleted by {deleted}"


def _effective(history: History, deleted: Deleted, got: Got, lefts: list[Left]) -> float:
    """When nothing of the user is left in *got*'s process.

    Another process' memory keeps it for a while, and takes it anew when it leaves a session that was open then, or
    while neither the cache nor the origin can be asked.
    """
    if got.process == deleted.process:
        return deleted.at  # it knows better than any location
    lag = history.lag if got.region in history.replicated and "replica near" not in deleted.cleared else 0.0
    own = [left.at for left in lefts if left.process == got.process and left.user == got.user]
    open_then = [at for at in own if at <= got.began and _opened_before(history, got, deleted)]
    return max([deleted.at + history.cleared_after + lag + LONGEST_FAULT, *open_then]) + history.policy.near_keep


def _opened_before(history: History, got: Got, deleted: Deleted) -> bool:
    return any(
        other.process == got.process and other.user == got.user and other.session and other.began <= deleted.at
        for other in history.of(Got)
    )


def agents_never_break(history: History) -> Iterator[str]:
    """A session always opens, and in time; it is always left in time; nothing is raised."""
    for broke in history.of(Broke):
        yield f"{broke}"
    for closed in history.of(Closed):
        if closed.background_errors:
            yield f"{closed}"
    for got in history.of(Got):
        if got.session and got.at - got.began > OPEN_TIMEOUT + _INSTANT:
            yield f"{got} took {got.at - got.began} s"
    for left in history.of(Left):
        if left.at - left.began > LEAVE_TIMEOUT + _INSTANT:
            yield f"{left} took {left.at - left.began} s"


def caches_converge(history: History) -> Iterator[str]:
    """Once everything has healed and a ttl has passed, every store that is read holds what the origin holds."""
    for converged in history.of(Converged):
        if converged.held != converged.expected:
            yield f"{converged}"


CHECKS: tuple[Check, ...] = (
    reads_your_writes,
    reads_what_was_committed,
    sessions_see_their_own_changes,
    reads_never_go_back,
    reads_are_not_too_old,
    nothing_is_lost,
    delivery_never_gets_stuck,
    what_was_taken_stays,
    deleted_stays_deleted,
    agents_never_break,
    caches_converge,
)
