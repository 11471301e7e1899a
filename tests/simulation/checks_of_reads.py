"""The promises about reads, as pure functions of a history: each yields what broke it."""

from collections.abc import Iterator

from tests.simulation.history import Committed, Got, History, Left, Made, Saw, WasCommitted
from tests.simulation.stores import POISON, REFUSED

MANY = 50
"""A snapshot shows no more than 64 facts: users with so many are not asked for each."""


def survives(made: Made, erased_at: int, erased_time: float) -> bool:
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
    erasures = [committed for committed in history.of(Committed) if not committed.exists]
    for left in history.of(Left):
        for change in made.get(left.session, ()):
            if change.id in messages:
                continue
            for got in reads:
                if got.user != left.user or got.began <= left.at:
                    continue
                # Whoever dropped it, because of a deletion, need not have told the reader's process.
                if any(
                    e.user == got.user and e.at <= got.at and not survives(change, e.erased_at, e.erased_time)
                    for e in erasures
                ):
                    continue
                knows = got.process == left.process or (
                    history.outboxes[got.host] == history.outboxes[left.host] and left.durable
                )
                if knows and change.text not in got.texts and survives(change, got.erased_at, got.erased_time):
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
                if not shows and survives(change, got.erased_at, got.erased_time):
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
                    gone = any(not survives(change, e.erased_at, e.erased_time) for e in erased.get(user, ()))
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
