"""Changes: the idempotent edits that sessions make and origins commit.

Their JSON (`kind` is the tag) is what outboxes store and `edgememory.commit()` in Postgres reads.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from edgememory.recall.language import Language


class _Change(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    id: str
    """A UUIDv7 in its canonical form, so that comparing text compares ids."""
    session_id: str
    session_started: float
    """Seconds since 1970, by the agent's clock."""
    base: int | None = None
    """The version that the session had seen; `None` if it had seen none."""


class MessageAdded(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="message_added"):
    """Something was said."""

    role: Literal["user", "assistant", "system", "tool"]
    text: str
    at: datetime
    interrupted: bool = False
    agent_id: str | None = None
    language: Language = "english"
    """In whose words it is found again; what is said in another is found word for word."""
    metadata: dict[str, str | int | float | bool | None] | None = None


class FactRemembered(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="fact_remembered"):
    """A fact is so. `key` comes from `keys.fact_key`; `replaces` is the key of a fact that is history from now on."""

    key: str
    text: str
    importance: int
    replaces: str | None = None
    language: Language = "english"


class FactForgotten(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="fact_forgotten"):
    """A fact is to be erased."""

    key: str


class PreferenceSet(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="preference_set"):
    """A preference has this value; `None` unsets it."""

    name: str
    value: str | int | float | bool | None = None


class NameSet(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="name_set"):
    """The user goes by this name; `None` forgets it."""

    name: str | None = None


class SummaryAdded(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="summary_added"):
    """What the session was about."""

    text: str
    language: Language = "english"


class FactsUsed(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="facts_used"):
    """Facts were of use, and rank as if they had been said again."""

    keys: tuple[str, ...]


class SessionEnded(_Change, frozen=True, kw_only=True, omit_defaults=True, tag="session_ended"):
    """The conversation is over, and awaits the extraction of what it leaves behind."""

    language: Language = "english"


Change = (
    SessionEnded | MessageAdded | FactRemembered | FactForgotten | PreferenceSet | NameSet | SummaryAdded | FactsUsed
)
