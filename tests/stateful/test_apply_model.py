"""`apply` and `bound` against a naive model, and the codec against every history they produce."""

import random
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgememory import codec
from edgememory.apply import apply, bound, overlay
from edgememory.changes import (
    Change,
    FactForgotten,
    FactRemembered,
    FactsUsed,
    MessageAdded,
    NameSet,
    PreferenceSet,
    SummaryAdded,
)
from edgememory.errors import CorruptEntryError
from edgememory.limits import LIMITS, Limits
from edgememory.models import Entry, Fact, Forgotten, Message, Preference, Snapshot, Summary
from edgememory.stores.newer_wins import from_value, to_value
from edgememory.testing.strategies import changes, deletions, entries, states

# One id stands for one change, as it does in life: they are random.
histories = st.lists(changes, max_size=20, unique_by=lambda change: change.id)

beginnings = st.builds(
    lambda deleted: Snapshot(version=deleted[0], exists=False, erased_at=deleted[0], erased_time=deleted[1]), deletions
)
"""A user who was never there, and users who were deleted."""

SMALL = Limits(messages=4, summaries=2, facts=2, forgotten=1, preferences=1, snapshot=2_000, message_in_snapshot=30)


def naive(beginning: Snapshot, changes: Iterable[Change]) -> Snapshot:
    """What *changes* lead to, said as a query over all of them: no change meets a state."""
    made = [change for change in {change.id: change for change in changes}.values() if not overtaken(change, beginning)]
    if not made:
        return beginning
    name = max((change for change in made if isinstance(change, NameSet)), key=lambda c: c.id, default=None)
    facts, former, forgotten = naive_facts(made)
    return Snapshot(
        version=beginning.version,
        exists=True,
        erased_at=beginning.erased_at,
        erased_time=beginning.erased_time,
        last_id=max(change.id for change in made),
        name=name and name.name,
        name_id=name.id if name else "",
        preferences=naive_preferences(made),
        facts=facts,
        former=former,
        forgotten=forgotten,
        summaries=tuple(
            Summary(id=change.id, session_id=change.session_id, text=change.text)
            for change in sorted(made, key=lambda c: c.id)
            if isinstance(change, SummaryAdded)
        ),
        messages=tuple(
            msgspec.convert(msgspec.to_builtins(change, builtin_types=[type(change.at)]), Message)
            for change in sorted(made, key=lambda c: c.id)
            if isinstance(change, MessageAdded)
        ),
    )


def overtaken(change: Change, beginning: Snapshot) -> bool:
    if change.base is None:
        return change.session_started < beginning.erased_time
    return change.base < beginning.erased_at


def naive_preferences(made: Sequence[Change]) -> tuple[Preference, ...]:
    last = {
        change.name: Preference(name=change.name, id=change.id, value=change.value)
        for change in sorted(made, key=lambda c: c.id)
        if isinstance(change, PreferenceSet)
    }
    return tuple(last[name] for name in sorted(last))


def naive_facts(
    made: Sequence[Change],
) -> tuple[tuple[Fact, ...], tuple[Fact, ...], tuple[Forgotten, ...]]:
    said: dict[str, tuple[str, str | None, int]] = {}
    used: dict[str, str] = {}
    replaced: dict[str, str] = {}
    for change in sorted(made, key=lambda c: c.id):
        match change:
            case FactRemembered():
                if change.replaces is not None and change.replaces != change.key:
                    replaced[change.replaces] = change.id
                said[change.key] = (change.id, change.text, change.importance)
            case FactForgotten():
                said[change.key] = (change.id, None, 0)
            case FactsUsed():
                used |= dict.fromkeys(change.keys, change.id)
    facts, former, forgotten = [], [], []
    for key in {*said, *used, *replaced}:
        id, text, importance = said.get(key, ("", None, 0))
        by = replaced.get(key, "") if replaced.get(key, "") > id else ""
        if text is None:
            forgotten.append(Forgotten(key=key, id=id, used=used.get(key, ""), replaced=by))
        else:
            fact = Fact(key=key, id=id, text=text, importance=importance, used=used.get(key, ""), replaced=by)
            (former if by else facts).append(fact)
    facts.sort(key=lambda fact: (fact.importance, max(fact.id, fact.used), fact.key), reverse=True)
    former.sort(key=lambda fact: (fact.replaced, fact.key), reverse=True)
    forgotten.sort(key=lambda gone: (max(gone.id, gone.replaced), gone.key), reverse=True)
    return tuple(facts), tuple(former), tuple(forgotten)


@given(beginnings, histories, st.randoms(use_true_random=False))
def test_changes_lead_to_what_the_model_says_however_they_are_batched(
    beginning: Snapshot, history: list[Change], dice: random.Random
) -> None:
    state = beginning
    for batch in batches(history, dice):
        state = apply(state, batch)
    assert state == naive(beginning, history)


@given(beginnings, histories, st.randoms(use_true_random=False))
def test_order_and_repetition_of_changes_do_not_matter(
    beginning: Snapshot, history: list[Change], dice: random.Random
) -> None:
    again = history + dice.choices(history, k=len(history)) if history else []
    dice.shuffle(again)
    state = beginning
    for batch in batches(again, dice):
        state = apply(state, batch)
    assert state == apply(beginning, history)


@given(beginnings, st.lists(changes, max_size=4, unique_by=lambda change: change.id))
def test_every_order_of_a_few_changes_leads_to_one_state_twice_over_too(
    beginning: Snapshot, history: list[Change]
) -> None:
    expected = apply(beginning, history)
    for order in permutations(history):
        assert apply(beginning, order) == expected
        assert apply(expected, order) == expected


def batches(changes: list[Change], dice: random.Random) -> list[list[Change]]:
    cuts = sorted(dice.randrange(len(changes) + 1) for _ in range(3))
    return [changes[start:end] for start, end in zip([0, *cuts], [*cuts, len(changes)], strict=True)]


@given(states, st.sampled_from([LIMITS, SMALL]))
def test_a_bounded_state_is_within_the_limits_and_bounding_it_again_changes_nothing(
    state: Snapshot, limits: Limits
) -> None:
    snapshot = bound(state, limits)
    assert bound(snapshot, limits) == snapshot
    assert len(msgspec.json.encode(snapshot)) <= limits.snapshot
    for name in ("messages", "summaries", "facts", "forgotten", "preferences"):
        assert len(getattr(snapshot, name)) <= getattr(limits, name)
    for message in snapshot.messages:
        assert len(message.text.encode()) <= limits.message_in_snapshot
        assert message.metadata is None


WITH_A_PAST = Snapshot(
    version=7,
    exists=True,
    last_id="2",
    facts=(Fact(key="new", id="2", text="new", importance=5),),
    former=(Fact(key="old", id="1", text="old", importance=5, replaced="2"),),
)


@given(states)
@example(WITH_A_PAST)
def test_bounding_keeps_the_best_of_each_list_and_all_that_is_no_list(state: Snapshot) -> None:
    snapshot = bound(state, SMALL)
    lists = {"messages": (), "summaries": (), "facts": (), "former": (), "forgotten": (), "preferences": ()}
    assert replace(snapshot, **lists) == replace(state, **lists)
    assert snapshot.facts == state.facts[: len(snapshot.facts)]
    gone = sorted((*state.forgotten, *state.former), key=lambda each: (max(each.id, each.replaced), each.key))[::-1]
    assert [each.key for each in snapshot.forgotten] == [each.key for each in gone[: len(snapshot.forgotten)]]
    assert snapshot.summaries == state.summaries[len(state.summaries) - len(snapshot.summaries) :]
    newest = state.messages[len(state.messages) - len(snapshot.messages) :]
    for kept, whole in zip(snapshot.messages, newest, strict=True):
        assert whole.text.startswith(kept.text)
        assert replace(kept, text="") == replace(whole, text="", metadata=None)
    by_id = sorted(state.preferences, key=lambda preference: preference.id, reverse=True)
    assert set(snapshot.preferences) == set(by_id[: len(snapshot.preferences)])


@given(entries, histories, st.floats(0, 2**31))
def test_an_overlay_is_newer_and_laying_it_on_again_shows_the_same(
    entry: Entry, history: list[Change], now: float
) -> None:
    laid = overlay(entry, history, now=now)
    again = overlay(laid, history, now=now)
    assert again.snapshot == laid.snapshot
    assert laid.snapshot == bound(apply(entry.snapshot, history)) or laid is entry
    assert laid is entry or laid.order > entry.order
    assert again is laid or again.order > laid.order


@given(entries)
def test_an_entry_survives_the_codec(entry: Entry) -> None:
    assert codec.decode(codec.encode(entry)) == entry


@given(entries)
def test_an_entry_survives_the_form_that_redis_compares(entry: Entry) -> None:
    assert from_value(to_value(entry)) == entry


def is_decoded_or_corrupt(raw: bytes) -> bool:
    return all(_is_decoded_or_corrupt(decode, raw) for decode in (codec.decode, from_value))


def _is_decoded_or_corrupt(decode: Callable[[bytes], Entry], raw: bytes) -> bool:
    try:
        entry = decode(raw)
    except CorruptEntryError:
        return True
    return all(0 <= part <= 2**53 for part in entry.order)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_an_entry_or_corrupt(raw: bytes) -> None:
    assert is_decoded_or_corrupt(raw)


PIECES = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"-", b"1e308", b"1e999", b"9" * 40, b"0.5", b"NaN", b"null"),
        *(b"true", b"\\ud800", b"\\u0000", b"\\", b"\xff", b"\xed\xa0\x80", b"\0", b"0001-01-01T00:00:00+12:00"),
    ]
)


@given(entries, st.data())
def test_a_damaged_entry_is_an_entry_or_corrupt(entry: Entry, data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from((codec.encode, to_value)))(entry)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(start, min(len(raw), start + 20)))
        raw = raw[:start] + data.draw(PIECES | st.binary(max_size=4)) + raw[end:]
    assert is_decoded_or_corrupt(raw)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"format":1,"snapshot":{"x":' + b"["])
def test_a_bottomless_document_is_corrupt(opening: bytes) -> None:
    assert is_decoded_or_corrupt(opening * 100_000)
