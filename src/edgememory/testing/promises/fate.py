"""What may become of a change: a deletion may overtake it, and a restored backup may not have it."""

from edgememory.testing.history import Committed, History, Made, Restored


def survives(made: Made, erased_at: int, erased_time: float) -> bool:
    """Say whether a deletion leaves a change alone: the rule of the origin, said anew."""
    return made.started >= erased_time if made.base is None else made.base >= erased_at


def lost_with_a_backup(history: History) -> dict[str, float]:
    """Return for each change that the origin had taken in a time that was lost again when it was lost."""
    lost: dict[str, float] = {}
    for restored in history.of(Restored):
        for committed in history.of(Committed):
            if restored.since < committed.at <= restored.at:
                lost |= {id: restored.at for id in committed.ids if id not in lost}
    return lost


def is_lost(committed: Committed, history: History, by: float) -> bool:
    """Say whether *committed* was undone by the time *by*, since the backup did not have it."""
    return any(restored.since < committed.at <= restored.at <= by for restored in history.of(Restored))
