"""Whom the benchmarks are about: users with a memory of known size."""

from datetime import UTC, datetime

from edgememory.apply import apply
from edgememory.changes import Change, MessageAdded
from edgememory.codec import decode, encode
from edgememory.ids import next_id
from edgememory.keys import fact_key
from edgememory.lab.people import Person
from edgememory.models import Entry, Fact, Message, Snapshot, UserKey

USER = UserKey("default", "user-42")
_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def entry_of_8_kib(*, synced_at: float = 1_750_000_000.0) -> Entry:
    """Return an entry that is larger than most: 24 facts and ten long messages."""
    facts = [Fact(key=fact_key(str(n)), id=next_id(), text=f"Fact {n} " + "f" * 50, importance=5) for n in range(24)]
    messages = [
        Message(id=next_id(), session_id=next_id(), role="user", text=f"{n} " + "m" * 240, at=_AT) for n in range(10)
    ]
    snapshot = Snapshot(version=2**40, exists=True, last_id=next_id(), facts=tuple(facts), messages=tuple(messages))
    return Entry(snapshot=snapshot, synced_at=synced_at)


def entry_of(person: Person) -> Entry:
    """Return what a cache holds of a user of the lab: about 3 KiB, its texts its own, as after decoding."""
    snapshot = apply(Snapshot(version=1, exists=True), person.earlier_calls())
    return decode(encode(Entry(snapshot=snapshot, synced_at=1_750_000_000.0)))


def message(text: str = "I moved to Lisbon last week", *, base: int | None = None) -> Change:
    """Return a new change."""
    return MessageAdded(id=next_id(), session_id="call", session_started=1.0, base=base, role="user", text=text, at=_AT)


def a_call() -> list[Change]:
    """Return what a short call leaves: two things that were said, and one of the answers."""
    return [message(), message("Lisbon, how nice. Shall the invoices go there too?"), message("Yes, please.")]
