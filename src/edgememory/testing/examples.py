"""Entries and ids to test with."""

from datetime import UTC, datetime

from edgememory.models import Entry, Fact, Forgotten, Message, Preference, Snapshot, Summary

NOW = 1_750_000_000.0
ID = "01890a5d-ac96-774b-bcce-b302099a8057"

AWKWARD_IDS = [
    *(
        "foo",
        "foobar",
        "fo",
        "Foo",
        "*",
        "f*",
        "f?o",
        "[a-z]",
        "%",
        "%25",
        "%2F",
        "_",
        ".",
        "..",
        "/",
        "a/b",
        "a",
    ),
    *(
        ":",
        "::",
        "#",
        "?",
        "&",
        " ",
        "a ",
        "\n",
        "a\nb",
        "\r\n",
        "\x7f",
        "0",
        "null",
        "🙂",
        "é",
        "e\u0301",
        "ﬁ",
    ),
    *("x" * 512, "x" * 511, "x" * 511 + "y", "%" * 512, "%" * 511 + "_", "🙂" * 128, "🙂" * 127 + "🙃"),
]
"""User ids that a store may confuse, cut, or take for something else."""


def entry_at(
    version: int, *, tentative_at: float = 0.0, synced_at: float = NOW, exists: bool = True, text: str = ""
) -> Entry:
    """Return an entry of this order, with *text* for a fact."""
    facts = (Fact(key="k", id=ID, text=text, importance=5),) if text else ()
    snapshot = Snapshot(version=version, exists=exists, facts=facts)
    return Entry(snapshot=snapshot, synced_at=synced_at, tentative_at=tentative_at)


def tombstone_at(version: int) -> Entry:
    """Return what is left of a user who was deleted in *version*."""
    snapshot = Snapshot(version=version, exists=False, erased_at=version, erased_time=NOW)
    return Entry(snapshot=snapshot, synced_at=NOW)


def full_entry() -> Entry:
    """Return an entry that has every field."""
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    snapshot = Snapshot(
        version=2**53,
        exists=True,
        erased_at=7,
        erased_time=1_700_000_000.000001,
        last_id=ID,
        name='Zoë "Z" \u2028 🙂',
        name_id=ID,
        preferences=tuple(
            Preference(name=f"p{place}", id=ID, value=value)
            for place, value in enumerate(("", "x", 0, -1, 2**53, 0.1, True, False, None))
        ),
        facts=(Fact(key="k", id=ID, text="line\nbreak\ttab \\ /", importance=0, used=ID),),
        forgotten=(Forgotten(key="f", id=ID, used=ID), Forgotten(key="g")),
        summaries=(Summary(id=ID, session_id="s", text="…"),),
        messages=(Message(id=ID, session_id="s", role="user", text="", at=at, interrupted=True, agent_id="a"),),
    )
    return Entry(snapshot=snapshot, synced_at=NOW + 0.000001, tentative_at=NOW + 0.999999)
