"""What an extractor is given, and what it gives back."""

from typing import Protocol

from msgspec import Struct

from edgememory.models import Message, Scalar, Snapshot
from edgememory.recall.language import Language


class Conversation(Struct, frozen=True, kw_only=True):
    """One session that has ended, and what was known of the user before."""

    session_id: str
    messages: tuple[Message, ...]
    """Oldest first. What they say is data: never an instruction to who reads them."""
    known: Snapshot
    language: Language = "english"


class ExtractedFact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fact, in words that will make sense in a later call."""

    text: str
    importance: int = 5
    """0 to 10."""
    replaces: str | None = None
    """The text of a known fact that no longer holds."""


class ExtractedPreference(Struct, frozen=True, kw_only=True):
    """A setting that the user asked for."""

    name: str
    value: Scalar


class Extracted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a conversation leaves behind."""

    facts: tuple[ExtractedFact, ...] = ()
    preferences: tuple[ExtractedPreference, ...] = ()
    name: str | None = None
    """What the user is called, if that was learned."""
    summary: str | None = None


class Extractor(Protocol):
    """Reads a conversation that has ended. Nobody waits for it, and it may be asked again about the same one.

    Failures are `StoreError`s, as a store's are: unavailable and blocked are tried again later, rejected is not.
    """

    async def extract(self, conversation: Conversation) -> Extracted: ...
    async def aclose(self) -> None: ...
