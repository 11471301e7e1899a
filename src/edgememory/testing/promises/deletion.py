"""That a user who was deleted stays deleted."""

from collections.abc import Iterator

from edgememory.testing.history import Committed, Deleted, Evicted, Got, History, Left, Made
from edgememory.testing.promises.fate import is_lost, survives


def deleted_stays_deleted(history: History) -> Iterator[str]:
    """After `delete_user` returned, nobody in the region is shown what it deleted."""
    changes = {change.text: change for change in history.of(Made)}
    evictions = list(history.of(Evicted))
    reads = list(history.of(Got))
    lefts = list(history.of(Left))
    for deleted in history.of(Deleted):
        state = next(c for c in history.of(Committed) if c.user == deleted.user and c.version == deleted.version)
        for got in reads:
            if got.user != deleted.user or got.region != deleted.region or got.began <= deleted.at:
                continue
            shown = [changes[text] for text in got.texts & changes.keys()]
            shown = [change for change in shown if not survives(change, state.erased_at, state.erased_time)]
            if not shown or _knows_nothing(got, deleted) or is_lost(state, history, by=got.at):
                continue
            if got.process != deleted.process and not _must_know(history, deleted, got, evictions, lefts):
                continue
            yield from (f"{got} shows {change}, deleted by {deleted}" for change in shown)


def _knows_nothing(got: Got, deleted: Deleted) -> bool:
    """Nothing could be read: it shows what waits in its host's outbox, not knowing of the deletion."""
    return got.tier == "" and got.process != deleted.process


def _must_know(history: History, deleted: Deleted, got: Got, evictions: list[Evicted], lefts: list[Left]) -> bool:
    """Say whether another process hears of it by then: the one that deleted knows it, whatever the stores say."""
    evicted = any((e.region, e.user) == (got.region, got.user) and deleted.began <= e.at <= got.at for e in evictions)
    return "edge" in deleted.cleared and not evicted and _effective(history, deleted, got, lefts) <= got.began


def _effective(history: History, deleted: Deleted, got: Got, lefts: list[Left]) -> float:
    """When nothing of the user is left in *got*'s process, which is another.

    Its memory keeps it for a while, and takes it anew when it leaves a session that was open then, or while neither the
    cache nor the origin can be asked.
    """
    replicas = {f"replica {name}" for name in history.replicas.get(got.region, ())}
    lag = 0.0 if replicas <= deleted.cleared else history.longest_lag
    own = [left.at for left in lefts if left.process == got.process and left.user == got.user]
    open_then = [at for at in own if at <= got.began and _opened_before(history, got, deleted)]
    told = deleted.at + history.cleared_after + lag + history.longest_fault
    return max([told, *open_then]) + history.policy.near_keep


def _opened_before(history: History, got: Got, deleted: Deleted) -> bool:
    return any(
        other.process == got.process and other.user == got.user and other.session and other.began <= deleted.at
        for other in history.of(Got)
    )
