"""Conversations that have ended, for extractors."""

from datetime import UTC, datetime

from edgememory.extract.extractor import Conversation
from edgememory.keys import fact_key
from edgememory.models import Fact, Message, Role, Snapshot
from edgememory.recall.language import Language

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


def conversation(
    *said: str | tuple[Role, str], known: tuple[str, ...] = (), name: str | None = None, language: Language = "english"
) -> Conversation:
    """A string is said by the user."""
    turns: list[tuple[Role, str]] = [("user", turn) if isinstance(turn, str) else turn for turn in said]
    return Conversation(
        session_id="s",
        messages=tuple(
            Message(id=str(place), session_id="s", role=role, text=text, at=AT)
            for place, (role, text) in enumerate(turns)
        ),
        known=Snapshot(
            version=1,
            exists=True,
            name=name,
            facts=tuple(Fact(key=fact_key(text), id="i", text=text, importance=5) for text in known),
        ),
        language=language,
    )
