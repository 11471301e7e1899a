"""The promises about reads."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from edgememory.limits import LIMITS
from edgememory.testing.history import Asked, Committed, Form, Got, History, Left, Made, Restored, Saw, WasCommitted
from edgememory.testing.promises.fate import lost_with_a_backup, survives

_OTHERS = 8
"""Facts of a snapshot that may be none of the history's: of what was there before it began."""
_LAST: Mapping[Form, int] = {"message": LIMITS.messages, "summary": LIMITS.summaries, "name": 1}
"""How many a snapshot shows of what it shows the last of. Of all else it shows everything, until it is crowded."""


class _Shown:
    """Which changes a snapshot has room for: not more than so many facts, and the last messages."""

    def __init__(self, history: History) -> None:
        self._made: dict[tuple[str, Form], list[tuple[str, float]]] = {}
        others: dict[str, int] = {}
        for made in history.of(Made):
            if made.form in _LAST:
                self._made.setdefault((made.user, made.form), []).append((made.id, made.at))
            else:
                others[made.user] = others.get(made.user, 0) + 1
        self._crowded = {user for user, number in others.items() if number > LIMITS.facts - _OTHERS}
        for those in self._made.values():
            those.sort()

    def lacks(self, change: Made, texts: frozenset[str], seen_at: float) -> bool:
        """Say whether *texts*, which were seen then, are without *change* though there was room for it."""
        is_shown = change.text in texts
        return is_shown == (change.form == "forgotten") and self._has_room(change, seen_at)

    def _has_room(self, change: Made, seen_at: float) -> bool:
        if change.form not in _LAST:
            return change.user not in self._crowded
        those = self._made[change.user, change.form]
        later = those[bisect_right(those, (change.id, change.at)) :]
        return sum(at <= seen_at for _, at in later) < _LAST[change.form]


def _by_session(history: History) -> dict[str, list[Made]]:
    """Return what each session changed, but for what the origin refuses."""
    made: dict[str, list[Made]] = {}
    for change in history.of(Made):
        if not change.refusable:
            made.setdefault(change.session, []).append(change)
    return made


def reads_your_writes(history: History) -> Iterator[str]:
    """A later session of the same process or on the same outbox shows what an earlier one changed."""
    made, shown, lost = _by_session(history), _Shown(history), lost_with_a_backup(history)
    reads: dict[str, list[Got]] = {}
    for got in history.of(Got):
        if got.session and got.status != "degraded":
            reads.setdefault(got.user, []).append(got)
    erasures: dict[str, list[Committed]] = {}
    for committed in history.of(Committed):
        if not committed.exists:
            erasures.setdefault(committed.user, []).append(committed)
    for left in history.of(Left):
        for got in reads.get(left.user, ()):
            if got.began <= left.at or not _knows(history, got, left):
                continue
            for change in made.get(left.session, ()):
                if lost.get(change.id, got.at) < got.at:
                    continue
                # Whoever dropped it, because of a deletion, need not have told the reader's process.
                if any(
                    e.at <= got.at and not survives(change, e.erased_at, e.erased_time)
                    for e in erasures.get(got.user, ())
                ):
                    continue
                if shown.lacks(change, got.texts, got.at) and survives(change, got.erased_at, got.erased_time):
                    yield f"{got} does not show {change}, left by {left}"


def _knows(history: History, got: Got, left: Left) -> bool:
    on_one_outbox = history.outboxes.get(got.host, got.host) == history.outboxes.get(left.host, left.host)
    return got.process == left.process or (on_one_outbox and left.durable)


def reads_what_was_committed(history: History) -> Iterator[str]:
    """Given the version from `committed`, a session anywhere shows the changes."""
    made, shown, lost = _by_session(history), _Shown(history), lost_with_a_backup(history)
    for committed in history.of(WasCommitted):
        changes = [change for change in made.get(committed.session, ()) if change.at <= committed.began]
        for got in history.of(Got):
            if got.user != committed.user or got.status == "degraded" or got.at_least < committed.version:
                continue
            for change in changes:
                if lost.get(change.id, got.at) < got.at:
                    continue
                if shown.lacks(change, got.texts, got.at) and survives(change, got.erased_at, got.erased_time):
                    yield f"{got} does not show {change} of {committed}"


def sessions_see_their_own_changes(history: History) -> Iterator[str]:
    """What a session changed shows in it at once, and stays, unless it ended or the origin refused it."""
    shown, lost = _Shown(history), lost_with_a_backup(history)
    erased: dict[str, list[Committed]] = {}
    so_far: dict[str, list[Made]] = {}
    for event in history.events:
        match event:
            case Committed(exists=False, user=user):
                erased.setdefault(user, []).append(event)
            case Made(session=session, refusable=False):
                so_far.setdefault(session, []).append(event)
            case Saw(session=session, user=user, ended=False):
                for change in so_far.get(session, ()):
                    if lost.get(change.id, event.at) < event.at:
                        continue
                    gone = any(not survives(change, e.erased_at, e.erased_time) for e in erased.get(user, ()))
                    if not gone and shown.lacks(change, event.texts, event.at):
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
    commits: dict[str, list[Committed]] = {}
    for committed in history.of(Committed):
        commits.setdefault(committed.user, []).append(committed)
    restores = list(history.of(Restored))
    for got in history.of(Got):
        if got.status == "degraded":
            continue
        newer = [c.at for c in commits.get(got.user, ()) if c.version > got.version]
        newer += [restored.at for restored in restores if restored.least > got.version]
        allowed = policy.ttl if got.status == "fresh" else longest
        if not got.exists and not got.erased_at:
            allowed = policy.missing_ttl
        if newer and min(newer) < got.began - allowed - history.clock_error:
            yield f"{got} shows what was no longer true {got.began - min(newer)} s before"


def one_load(history: History) -> Iterator[str]:
    """A process does not ask the origin again for what it is asking already.

    One load and one refresh may run at once, as may a load that asks for more than the one before.
    """
    asking: dict[tuple[str, str], list[Asked]] = {}
    for asked in sorted(history.of(Asked), key=lambda asked: asked.began):
        others = asking.setdefault((asked.process, asked.user), [])
        others[:] = [other for other in others if other.at > asked.began]
        same = [other for other in others if asked.at_least <= other.at_least]
        others.append(asked)
        if len(same) > 1:
            yield f"{asked} while {same} were under way"
