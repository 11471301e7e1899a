"""What is asked for, and what is found."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from msgspec import Struct

from edgememory.models import Role, Scalar, Version
from edgememory.recall.language import Language

Kind = Literal["fact", "summary", "message"]


class Filters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be found; what is left out does not restrict it.

    Facts and summaries have no role, agent or metadata, and facts no session: whoever asks for one gets none of them.
    """

    kinds: tuple[Kind, ...] = ("fact", "summary", "message")
    session_id: str | None = None
    except_session_id: str | None = None
    """Of the conversation that is going on, perhaps: a model has its messages before it."""
    agent_id: str | None = None
    role: Role | None = None
    after: datetime | None = None
    """From then on."""
    before: datetime | None = None
    """Up to then, and not then."""
    metadata: Mapping[str, Scalar] | None = None
    """All of these, with these values. Only the origin keeps metadata."""
    former: bool = False
    """Also facts that others have replaced. Only the origin keeps them."""


ALL = Filters()


class Query(Struct, frozen=True, kw_only=True):
    """What an origin is asked. `terms` are groups of forms: a text matches a term by any of them."""

    terms: tuple[tuple[str, ...], ...]
    language: Language
    filters: Filters = ALL
    vector: tuple[float, ...] | None = None
    """What it means, by the embedder."""
    model: str | None = None
    """The embedder's. Where the origin's vectors are of another one, words alone count."""


class Item(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A text that can be found."""

    kind: Kind
    id: str
    """A message's or summary's id; the id of the change that last set a fact."""
    text: str
    at: datetime | None
    """When it was said; `None` where its id does not tell."""
    session_id: str | None = None
    role: Role | None = None
    agent_id: str | None = None
    key: str | None = None
    """A fact's."""
    valid_until: datetime | None = None
    """When another fact took this one's place."""
    previous: str | None = None
    """The id of the message before it in the same conversation, as far as that is known."""
    similarity: float | None = None
    """The cosine of its vector and the query's, where it is among the nearest."""


class Candidates(Struct, frozen=True, kw_only=True):
    """What may answer a query, and what there is to know of all texts of the user to weigh it."""

    version: Version
    """The user's, as of which this was found: a replica may lag behind a deletion."""
    items: tuple[Item, ...]
    texts: int
    """How many texts of the user there are."""
    octets: float
    """Their mean length, in bytes."""
    frequencies: tuple[int, ...]
    """How many of them hold each term of the query."""


class Why(Struct, frozen=True, omit_defaults=True):
    """Why something was found."""

    words: tuple[str, ...] = ()
    """The words of the query that stand in it, in one form or another."""
    beside: bool = False
    """It stands beside something that was found by its words."""
    similarity: float | None = None
    """How near its meaning is to the query's: the cosine of their vectors."""


class Match(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that was found. Scores of one answer can be compared with each other, and with no others."""

    kind: Kind
    id: str
    text: str
    at: datetime | None
    score: float
    why: Why
    session_id: str | None = None
    role: Role | None = None
    agent_id: str | None = None
    valid_until: datetime | None = None
    """When another fact took this one's place; `None` for what holds."""
