"""Which sessions await extraction, in process memory: `InMemoryOrigin`'s part of `ExtractionQueue`."""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from edgememory.changes import SessionEnded
from edgememory.models import Awaiting, UserKey


@dataclass(slots=True)
class _Held:
    awaiting: Awaiting
    due: float
    done: bool = False
    error: str | None = None


class MemoryExtractions:
    """Sessions by user and id; those that are done stay, so that a repeated change asks for nothing."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[tuple[UserKey, str], _Held] = {}

    def add(self, user: UserKey, ended: SessionEnded) -> None:
        """Let a session await extraction, unless it does, or did."""
        awaiting = Awaiting(
            user=user,
            id=ended.id,
            session_id=ended.session_id,
            session_started=ended.session_started,
            base=ended.base,
            language=ended.language,
            tries=0,
        )
        self._held.setdefault((user, ended.id), _Held(awaiting, self._now()))

    def claim(self, namespace: str, *, lease: float, limit: int) -> list[Awaiting]:
        now = self._now()
        due = [
            held
            for (user, _), held in self._held.items()
            if user.namespace == namespace and not held.done and held.due <= now
        ]
        claimed = sorted(due, key=lambda held: held.due)[:limit]
        for held in claimed:
            held.due = now + lease
            held.awaiting = replace(held.awaiting, tries=held.awaiting.tries + 1)
        return [held.awaiting for held in claimed]

    def finish(self, awaiting: Awaiting) -> bool:
        """Say whether it was still to be done: then it is now."""
        held = self._held.get((awaiting.user, awaiting.id))
        if held is None or held.done:
            return False
        held.done, held.error = True, None
        return True

    def postpone(self, awaiting: Awaiting, *, seconds: float, error: str, gives_up: bool) -> None:
        held = self._held.get((awaiting.user, awaiting.id))
        if held is not None and not held.done and held.awaiting.tries == awaiting.tries:
            held.due, held.error, held.done = self._now() + seconds, error, gives_up

    def forget(self, user: UserKey) -> None:
        """Drop what belongs to a user who was deleted."""
        for key in [key for key in self._held if key[0] == user]:
            del self._held[key]
