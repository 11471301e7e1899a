"""What edgememory keeps: frozen structs, safe to share between callers, tasks and caches."""

from datetime import datetime
from math import inf
from typing import Annotated, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from edgememory.changes import Change
from edgememory.recall.language import Language

Role = Literal["user", "assistant", "system", "tool"]
Scalar = str | int | float | bool | None
Version = Annotated[int, Meta(ge=0, le=2**53)]
"""`epoch * 2**32 + n`. At most 2**53, so that it survives JSON, Lua and JavaScript unharmed."""

Order = tuple[int, int, int]
"""`(version, tentative_us, synced_us)`: which of two entries is newer. Times in whole microseconds."""

T = TypeVar("T")


class UserKey(Struct, frozen=True, cache_hash=True, gc=False):
    """Whose memory. Two keys are one user only if both parts are equal, byte for byte."""

    namespace: str
    user_id: str


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was said. Messages of one user are in the order of their ids."""

    id: str
    session_id: str
    role: Role
    text: str
    at: datetime
    """When it was said, by the speaker's clock. Says nothing about order."""
    interrupted: bool = False
    agent_id: str | None = None
    metadata: dict[str, Scalar] | None = None
    """Kept in the history only: `None` in every snapshot."""


class Summary(Struct, frozen=True, kw_only=True):
    """What a session was about, in a few sentences."""

    id: str
    session_id: str
    text: str


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something worth knowing about the user. `id` is the change that last set it."""

    key: str
    id: str
    text: str
    importance: int
    used: str = ""
    """The newest change that used the fact; empty if none did."""
    replaced: str = ""
    """The change of the fact that took this one's place: it is history since then. Empty if it holds."""


class Forgotten(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A fact without its text, kept so that an older change cannot bring the text back.

    `id` is empty where the fact was only ever used or replaced, never known. In a snapshot it also stands for what was
    replaced, whose text only the origin has.
    """

    key: str
    id: str = ""
    used: str = ""
    replaced: str = ""


class Preference(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A named setting of the user. A value of `None` means that it was unset."""

    name: str
    id: str
    value: Scalar = None


class Snapshot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The view of one user's memory as of one version. Bounded, unless it is an origin's full state."""

    version: Version
    exists: bool
    erased_at: Version = 0
    """Version of the user's last deletion; 0 if there was none."""
    erased_time: float = 0.0
    """When that was, in seconds since 1970 by the origin's clock."""
    last_id: str = ""
    """The largest change id of the user's full state, also of what the bounds have cut off."""
    name: str | None = None
    name_id: str = ""
    preferences: tuple[Preference, ...] = ()
    """By name."""
    facts: tuple[Fact, ...] = ()
    """Best first: by importance, then by last use or mention."""
    former: tuple[Fact, ...] = ()
    """What other facts have replaced, last replaced first. In an origin's full state only."""
    forgotten: tuple[Forgotten, ...] = ()
    """Newest first."""
    summaries: tuple[Summary, ...] = ()
    """Oldest first."""
    messages: tuple[Message, ...] = ()
    """Oldest first."""

    @property
    def is_tombstone(self) -> bool:
        """Whether this is what is left of a deleted user."""
        return not self.exists and self.erased_at > 0


class Vectors(Struct, frozen=True):
    """Vectors of a snapshot's texts, by id: one signed byte a dimension."""

    model: str
    of: dict[str, bytes]


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a cache holds. Times are seconds since 1970 by the origin's clock, in whole microseconds."""

    snapshot: Snapshot
    synced_at: float
    """When the content was true. Never restamped."""
    tentative_at: float = 0.0
    """Above 0: shows changes that the origin has not acknowledged."""
    vectors: Vectors | None = None
    """Where an embedder in the process itself made them."""

    @property
    def order(self) -> Order:
        """Which of two entries of one user is newer: the one with the larger order."""
        return (self.snapshot.version, microseconds(self.tentative_at), microseconds(self.synced_at))


class Confirmed(Struct, frozen=True, gc=False):
    """An entry, and how good the word of it is. Seconds."""

    entry: Entry
    unconfirmed: float = 0.0
    """For how long nobody has confirmed it."""
    left: float = inf
    """Until near caches must drop it."""


def microseconds(seconds: float) -> int:
    """Seconds as whole microseconds: what orders are compared in."""
    return round(seconds * 1_000_000)


class Refused(Struct, frozen=True):
    """A change that the origin will never take, and why."""

    id: str
    reason: str


class Committed(Struct, frozen=True):
    """What a commit did. Ids in neither `dropped` nor `refused` are in the entry's full state."""

    entry: Entry
    dropped: tuple[str, ...] = ()
    """Changes that a deletion had overtaken."""
    refused: tuple[Refused, ...] = ()


Beside = Entry | UnsetType | None
"""What the cache beside an outbox holds, where one request asks for both (`Tier.beside_outbox`); unset elsewhere."""


class Pending(Struct, frozen=True):
    """What an outbox holds of one user."""

    changes: tuple[Change, ...] = ()
    """In the order of their ids."""
    floor: int = 0
    """The least version that the user's next read must show."""
    beside: Beside = UNSET


class Claim(Struct, frozen=True):
    """One user's changes, leased to one deliverer."""

    user: UserKey
    changes: tuple[Change, ...]
    token: str


class Awaiting(Struct, frozen=True, kw_only=True):
    """A session that has ended and awaits extraction. `id` is its `SessionEnded`, after everything that was said."""

    user: UserKey
    id: str
    session_id: str
    session_started: float
    base: int | None
    language: Language
    tries: int
    """How often it was claimed, this time included."""


class Depth(Struct, frozen=True):
    """How much waits in an outbox."""

    changes: int
    users: int
    dead: int
    """Dead letters: refused by the origin, kept to be looked at."""
    oldest_age: float | None
    """Seconds since the oldest waiting change was appended; `None` if nothing waits."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A change that will not be delivered, kept to be looked at."""

    user: UserKey
    id: str
    body: bytes
    """The change as it was stored: JSON, unless it is damaged."""
    error: str
    at: float
    """When it was given up, in seconds since 1970."""


class Page(Struct, Generic[T], frozen=True):
    """A part of a long list. `cursor` asks for the next part; `None` at the end."""

    items: tuple[T, ...]
    cursor: str | None


class Cleared(Struct, frozen=True):
    """What a deletion did in one store."""

    store: str
    cleared: bool
    effective_by: datetime | None = None
    """From then on the store serves none of the user's data; `None` if it was not cleared."""
    error: str | None = None


class Receipt(Struct, frozen=True):
    """What `delete_user` did."""

    version: int
    """The tombstone's: nothing below it will be served by a cleared store."""
    stores: tuple[Cleared, ...]
    dropped: int
    """Changes of this user that still waited in the outbox here, or to get there; the origin will drop them."""
