"""Changes to test with, as one session makes them."""

from collections.abc import Mapping
from datetime import UTC, datetime

from edgememory.changes import (
    FactForgotten,
    FactRemembered,
    FactsUsed,
    MessageAdded,
    NameSet,
    PreferenceSet,
    SessionEnded,
    SummaryAdded,
)
from edgememory.ids import next_id
from edgememory.keys import fact_key
from edgememory.models import Role, Scalar
from edgememory.recall.language import Language

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Talk:
    """One session's voice: each method makes one change, with a new id.

    The default knows no snapshot and began long ago: what any deletion drops.
    """

    def __init__(self, session_id: str = "s-1", *, base: int | None = None, started: float = 1.5) -> None:
        self.session_id = session_id
        self.base = base
        self.started = started

    def says(
        self,
        text: str,
        *,
        role: Role = "user",
        at: datetime = AT,
        interrupted: bool = False,
        agent_id: str | None = None,
        language: Language = "english",
        metadata: Mapping[str, Scalar] | None = None,
        id: str | None = None,
    ) -> MessageAdded:
        return MessageAdded(
            id=next_id() if id is None else id,
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            role=role,
            text=text,
            at=at,
            interrupted=interrupted,
            agent_id=agent_id,
            language=language,
            metadata=None if metadata is None else dict(metadata),
        )

    def remembers(
        self, text: str, *, importance: int = 5, replaces: str | None = None, id: str | None = None
    ) -> FactRemembered:
        """*replaces* is the other fact's text."""
        return FactRemembered(
            id=next_id() if id is None else id,
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            key=fact_key(text),
            text=text,
            importance=importance,
            replaces=None if replaces is None else fact_key(replaces),
        )

    def forgets(self, text: str) -> FactForgotten:
        return FactForgotten(
            id=next_id(),
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            key=fact_key(text),
        )

    def uses(self, *texts: str) -> FactsUsed:
        return FactsUsed(
            id=next_id(),
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            keys=tuple(fact_key(text) for text in texts),
        )

    def prefers(self, name: str, value: Scalar) -> PreferenceSet:
        return PreferenceSet(
            id=next_id(),
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            name=name,
            value=value,
        )

    def is_called(self, name: str | None) -> NameSet:
        return NameSet(
            id=next_id(),
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            name=name,
        )

    def sums_up(self, text: str) -> SummaryAdded:
        return SummaryAdded(
            id=next_id(),
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            text=text,
        )

    def ends(self, *, language: Language = "english") -> SessionEnded:
        return SessionEnded(
            id=next_id(),
            session_id=self.session_id,
            session_started=self.started,
            base=self.base,
            language=language,
        )
