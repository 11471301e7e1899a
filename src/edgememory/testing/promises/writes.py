"""That nothing which was acknowledged is lost, and that delivery gets on."""

import math
from collections.abc import Iterator

from edgememory.testing.history import Appended, Committed, Drained, Flushed, History, Idled, Left, Made, every_text_of
from edgememory.testing.promises.fate import lost_with_a_backup, survives


def nothing_is_lost(history: History) -> Iterator[str]:
    """What was durable is in the origin once, dropped by a deletion, or a dead letter; and no outbox holds it."""
    appended = {event.id for event in history.of(Appended)}
    dead = {id for drained in history.of(Drained) for id in drained.dead}
    refused = {id for committed in history.of(Committed) for id in committed.refused}
    durable = {left.session for left in history.of(Left) if left.durable and not left.ended}
    flushed = {flush.process: flush.began for flush in history.of(Flushed)}
    names = _last_names(history)
    lost = lost_with_a_backup(history)
    for change in history.of(Made):
        is_flushed = change.at <= flushed.get(change.process, -math.inf)
        if not (change.id in appended or change.session in durable or is_flushed):
            continue
        state = history.final[change.user]
        times = [*every_text_of(state)].count(change.text)
        wrong = 1 if change.form == "forgotten" else 0
        may_be_gone = (
            not survives(change, state.erased_at, state.erased_time)
            or change.id in lost
            or (change.form == "name" and change.id < names[change.user])
        )
        if change.refusable:
            if change.id not in dead and not may_be_gone:
                yield f"{change} is no dead letter"
        elif change.id in dead or change.id in refused:
            yield f"{change} was refused"
        elif times > 1 or (times == wrong and not may_be_gone):
            yield f"{change} is at the origin {times} times"
    for drained in history.of(Drained):
        if drained.waiting:
            yield f"{drained} still waits"


def _last_names(history: History) -> dict[str, str]:
    """Return for each user the id of the last change of the name: the others are gone rightly."""
    last: dict[str, str] = {}
    for made in history.of(Made):
        if made.form == "name":
            last[made.user] = max(made.id, last.get(made.user, ""))
    return last


def what_was_taken_stays(history: History) -> Iterator[str]:
    """The origin never drops a change that a deletion had not overtaken."""
    made = {change.id: change for change in history.of(Made)}
    for committed in history.of(Committed):
        for id in committed.dropped & made.keys():
            if survives(made[id], committed.erased_at, committed.erased_time):
                yield f"{made[id]} was dropped by {committed}"


def delivery_never_gets_stuck(history: History) -> Iterator[str]:
    """A process that goes on delivers everything, once the faults have healed."""
    for idled in history.of(Idled):
        if idled.waiting:
            yield f"{idled}"
