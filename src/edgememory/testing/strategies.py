"""Hypothesis strategies for what edgememory keeps. Keys and ids collide often: that is what the rules are about."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from edgememory.apply import apply, bound
from edgememory.changes import (
    Change,
    FactForgotten,
    FactRemembered,
    FactsUsed,
    MessageAdded,
    NameSet,
    PreferenceSet,
    SessionEnded,
    SummaryAdded,
)
from edgememory.models import Entry, Scalar, Snapshot, UserKey

SMALL_VERSIONS = range(8)
"""Versions that changes of `changes` know, so that `Snapshot.erased_at` can lie among them."""
SMALL_TIMES = (0.0, 1.5, 1_750_000_000.000001)

IDS = [f"{millisecond:012x}" for millisecond in (0, 1, 0x0FFFFFFFFFFF, 0x100000000000, 0xFFFFFFFFFFFF)]

ids = st.builds(
    lambda time, number: f"{time[:8]}-{time[8:]}-7000-8000-{number:012x}", st.sampled_from(IDS), st.integers(0, 3)
)
"""UUIDv7s in their canonical form, twenty in all."""

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
"""Text that every backend can hold."""

keys = st.sampled_from(["a", "b", "B", "aa", "é", "%", "_", "~", "🙂"])
session_ids = st.sampled_from(["s", "S", "s-1", "s%"])
scalars: st.SearchStrategy[Scalar] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.just("")
    | texts
)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=11))])
times = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=zones)  # noqa: DTZ001 - zones come from `zones`

_common = {
    "id": ids,
    "session_id": session_ids,
    "session_started": st.sampled_from(SMALL_TIMES),
    "base": st.none() | st.sampled_from(SMALL_VERSIONS),
}

messages = st.builds(
    MessageAdded,
    **_common,
    role=st.sampled_from(["user", "assistant", "system", "tool"]),
    text=texts | texts.map(lambda text: text * 1000),
    at=times,
    interrupted=st.booleans(),
    agent_id=st.none() | texts,
    metadata=st.none() | st.dictionaries(texts, scalars, min_size=1, max_size=3),
)
facts = st.builds(
    FactRemembered, **_common, key=keys, text=texts, importance=st.integers(0, 10), replaces=st.none() | keys
)

changes: st.SearchStrategy[Change] = st.one_of(
    messages,
    facts,
    st.builds(FactForgotten, **_common, key=keys),
    st.builds(FactsUsed, **_common, keys=st.lists(keys, max_size=3).map(tuple)),
    st.builds(PreferenceSet, **_common, name=keys, value=scalars),
    st.builds(NameSet, **_common, name=st.none() | texts),
    st.builds(SummaryAdded, **_common, text=texts),
    st.builds(SessionEnded, **_common),
)
"""Changes of every kind, all of which an origin takes unless a deletion has overtaken them."""

users = st.builds(UserKey, st.sampled_from(["a", "b"]), st.sampled_from(["foo", "foobar", "Foo", "%", "é"]))
"""Users whom a careless backend confuses: one id begins like another, or stands in another namespace."""

deletions = st.just((0, 0.0)) | st.tuples(st.sampled_from(SMALL_VERSIONS[1:]), st.sampled_from(SMALL_TIMES[1:]))

states: st.SearchStrategy[Snapshot] = st.builds(
    lambda version, deleted, made: apply(
        Snapshot(version=version, exists=False, erased_at=deleted[0], erased_time=deleted[1]), made
    ),
    st.integers(SMALL_VERSIONS[-1], 2**53),
    deletions,
    st.lists(changes, max_size=20),
)
"""Full states, as an origin could have them: made of changes, some after a deletion."""

snapshots: st.SearchStrategy[Snapshot] = states.map(bound)
"""What sessions see, and caches hold."""

_seconds = st.integers(0, 2**52).map(lambda microseconds: microseconds / 1_000_000)

entries: st.SearchStrategy[Entry] = st.builds(
    Entry, snapshot=snapshots, synced_at=_seconds, tentative_at=st.just(0.0) | _seconds
)
"""Snapshots, with any time and any `tentative_at` that an order can hold."""
