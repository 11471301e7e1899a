"""Whom the benchmarks are about: users with a memory of known size."""

from datetime import UTC, datetime, timedelta

from edgememory.apply import apply, bound
from edgememory.changes import Change, MessageAdded
from edgememory.codec import decode, encode
from edgememory.ids import next_id
from edgememory.keys import fact_key
from edgememory.lab.people import Person
from edgememory.limits import LIMITS
from edgememory.models import Entry, Fact, Message, Preference, Snapshot, Summary, UserKey

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


def full_entry(*, synced_at: float = 1_750_000_000.0) -> Entry:
    """Return an entry in which nothing has room any more, some 60 KiB, learned over twenty days."""
    facts = [
        Fact(key=fact_key(str(n)), id=_id_of(n % 20), text=_words(n, 150), importance=5) for n in range(LIMITS.facts)
    ]
    summaries = [Summary(id=_id_of(n), session_id=next_id(), text=_words(n, 800)) for n in range(LIMITS.summaries)]
    messages = [
        Message(id=_id_of(n), session_id=next_id(), role="user", text=_words(n, 900), at=_AT)
        for n in range(LIMITS.messages)
    ]
    preferences = [
        Preference(name=f"preference {n:03}", id=_id_of(0), value=_words(n, 25)) for n in range(LIMITS.preferences)
    ]
    snapshot = Snapshot(
        version=2**40,
        exists=True,
        last_id=next_id(),
        name="Anna Keller",
        name_id=_id_of(0),
        preferences=tuple(preferences),
        facts=tuple(facts),
        summaries=tuple(summaries),
        messages=tuple(messages),
    )
    entry = decode(encode(Entry(snapshot=snapshot, synced_at=synced_at)))
    if bound(entry.snapshot) != entry.snapshot:
        raise AssertionError("it does not fit a snapshot")
    return entry


def _id_of(day: int) -> str:
    milliseconds = f"{int((_AT + timedelta(days=day)).timestamp() * 1000):012x}"
    return f"{milliseconds[:8]}-{milliseconds[8:]}{next_id()[13:]}"


def _words(number: int, size: int) -> str:
    said = "They moved to Lisbon last week and would rather be called in the evening, about the invoice. "
    return (f"{number} " + said * (size // len(said) + 1))[:size]


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
