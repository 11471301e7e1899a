"""That nothing which was acknowledged is lost, and that delivery gets on."""

from collections.abc import Iterator

from edgememory.models import Snapshot
from edgememory.testing.history import Appended, Committed, Drained, History, Idled, Left, Made
from edgememory.testing.promises.fate import lost_with_a_backup, survives


def nothing_is_lost(history: History) -> Iterator[str]:
    """What was durable is in the origin once, dropped by a deletion, or a dead letter; and no outbox holds it."""
    appended = {event.id for event in history.of(Appended)}
    dead = {id for drained in history.of(Drained) for id in drained.dead}
    refused = {id for committed in history.of(Committed) for id in committed.refused}
    durable = {left.session for left in history.of(Left) if left.durable and not left.ended}
    lost = lost_with_a_backup(history)
    for change in history.of(Made):
        if change.id not in appended and change.session not in durable:
            continue
        state = history.final[change.user]
        times = [*_texts(state)].count(change.text)
        wrong = 1 if change.form == "forgotten" else 0
        may_be_gone = not survives(change, state.erased_at, state.erased_time) or change.id in lost
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


def _texts(state: Snapshot) -> Iterator[str]:
    yield from (fact.text for fact in state.facts)
    yield from (message.text for message in state.messages)


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
