"""The promises, as pure functions of a history: each yields what broke it."""

from collections.abc import Callable, Iterator

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
    Saw,
    WasCommitted,
)
from tests.simulation.stores import POISON, REFUSED
from tests.simulation.world import LONGEST_FAULT

Check = Callable[[History], Iterator[str]]
_INSTANT = 1e-6
OPEN_TIMEOUT = 0.5
LEAVE_TIMEOUT = 2.0
MANY = 50
"""A snapshot shows no more than 64 facts: users with so many are not asked for each."""


def violations(history: History) -> list[str]:
    """Return everything that broke a promise."""
    return [f"{check.__name__}: {what}" for check in CHECKS for what in check(history)]


def _survives(made: Made, erased_at: int, erased_time: float) -> bool:
    return made.started >= erased_time if made.base is None else made.base >= erased_at


def _lasting(history: History) -> dict[str, list[Made]]:
    """Return each session's facts, but those that the origin refuses."""
    made: dict[str, list[Made]] = {}
    for change in history.of(Made):
        if not change.text.startswith((POISON, REFUSED)):
            made.setdefault(change.session, []).append(change)
    return made


def _crowded(history: History) -> set[str]:
    counts: dict[str, int] = {}
    for made in history.of(Made):
        counts[made.user] = counts.get(made.user, 0) + 1
    return {user for user, number in counts.items() if number > MANY}


def reads_your_writes(history: History) -> Iterator[str]:
    """A later session of the same process or on the same outbox shows what an earlier one changed."""
    made = _lasting(history)
    messages = _messages(history)
    crowded = _crowded(history)
    reads = [got for got in history.of(Got) if got.session and got.status != "degraded" and got.user not in crowded]
    for left in history.of(Left):
        for change in made.get(left.session, ()):
            if change.id in messages:
                continue
            for got in reads:
                if got.user != left.user or got.began <= left.at:
                    continue
                knows = got.process == left.process or (got.host == left.host and left.durable)
                if knows and change.text not in got.texts and _survives(change, got.erased_at, got.erased_time):
                    yield f"{got} does not show {change}, left by {left}"


def reads_what_was_committed(history: History) -> Iterator[str]:
    """Given the version from `committed`, a session anywhere shows the changes."""
    made = _lasting(history)
    messages = _messages(history)
    crowded = _crowded(history)
    for committed in history.of(WasCommitted):
        changes = [change for change in made.get(committed.session, ()) if change.at <= committed.began]
        for got in history.of(Got):
            told = got.user == committed.user and got.status != "degraded" and got.at_least >= committed.version
            if not told or got.user in crowded:
                continue
            for change in changes:
                shows = change.text in got.texts or change.id in messages
                if not shows and _survives(change, got.erased_at, got.erased_time):
                    yield f"{got} does not show {change} of {committed}"


def _messages(history: History) -> set[str]:
    """Only the last ten messages are in a snapshot."""
    return {made.id for made in history.of(Made) if made.form == "message"}


def sessions_see_their_own_changes(history: History) -> Iterator[str]:
    """What a session changed shows in it at once, and stays, unless it ended or the origin refused it."""
    crowded = _crowded(history)
    erased: dict[str, list[Committed]] = {}
    so_far: dict[str, list[Made]] = {}
    for event in history.events:
        match event:
            case Committed(exists=False, user=user):
                erased.setdefault(user, []).append(event)
            case Made(session=session, form="fact", text=text) if not text.startswith((POISON, REFUSED)):
                so_far.setdefault(session, []).append(event)
            case Saw(session=session, user=user, ended=False) if user not in crowded:
                for change in so_far.get(session, ()):
                    gone = any(not _survives(change, e.erased_at, e.erased_time) for e in erased.get(user, ()))
                    if change.text not in event.texts and not gone:
                        yield f"{event} does not show {change}"
            case _:
                pass


def reads_never_go_back(history: History) -> Iterator[str]:
    """In a process, the versions of one user's reads that are not degraded only rise."""
    highest: dict[tuple[str, str], list[Got]] = {}
    for got in history.of(Got):
        if got.status == "degraded":
            continue
        earlier = highest.setdefault((got.process, got.user), [])
        for before in earlier:
            if before.at < got.began and before.version > got.version:
                yield f"{got} goes back behind {before}"
        earlier.append(got)


def reads_are_not_too_old(history: History) -> Iterator[str]:
    """What a read shows was true at the origin no longer ago than the policy allows."""
    policy = history.policy
    longest = policy.ttl + policy.stale_while_revalidate
    commits = list(history.of(Committed))
    for got in history.of(Got):
        if got.status == "degraded":
            continue
        newer = [c.at for c in commits if c.user == got.user and c.version > got.version]
        allowed = policy.ttl if got.status == "fresh" else longest
        if not got.exists and not got.erased_at:
            allowed = policy.missing_ttl
        if newer and min(newer) < got.began - allowed - history.clock_error:
            yield f"{got} shows what was no longer true {got.began - min(newer)} s before"


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
        elif texts.count(change.text) != 1 and _survives(change, state.erased_at, state.erased_time):
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
    return not _survives(change, state.erased_at, state.erased_time)


def what_was_taken_stays(history: History) -> Iterator[str]:
    """The origin never drops a change that a deletion had not overtaken."""
    made = {change.id: change for change in history.of(Made)}
    for committed in history.of(Committed):
        for id in committed.dropped & made.keys():
            if _survives(made[id], committed.erased_at, committed.erased_time):
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
            restarted = any(r.region == got.region and deleted.began <= r.at <= got.at for r in restarts)
            if "edge" not in deleted.cleared or restarted or _effective(history, deleted, got, lefts) > got.began:
                continue
            for text in got.texts & changes.keys():
                if not _survives(changes[text], state.erased_at, state.erased_time):
                    yield f"{got} shows {changes[text]}, deleted by {deleted}"


def _effective(history: History, deleted: Deleted, got: Got, lefts: list[Left]) -> float:
    """When nothing of the user is left in *got*'s process.

    Another process' memory keeps it for a while, and takes it anew when it leaves a session that was open then, or
    while neither the cache nor the origin can be asked.
    """
    if got.process == deleted.process:
        return deleted.at
    lag = history.lag if got.region in history.replicated and "replica" not in deleted.cleared else 0.0
    own = [left.at for left in lefts if left.process == got.process and left.user == got.user]
    open_then = [at for at in own if at <= got.began and _opened_before(history, got, deleted)]
    return max([deleted.at + lag + LONGEST_FAULT, *open_then]) + history.policy.near_keep


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
