from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from edgememory.apply import apply, bound, overlay, survives
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
from edgememory.limits import LIMITS
from edgememory.models import Entry, Fact, Forgotten, Message, Preference, Snapshot, Summary
from edgememory.testing.examples import NOW, entry_at, tombstone_at

NOBODY = Snapshot(version=0, exists=False)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def said(id: str, text: str = "hello", *, base: int | None = 0, session_started: float = 0.0) -> MessageAdded:
    return MessageAdded(
        id=id, session_id="s", session_started=session_started, base=base, role="user", text=text, at=AT
    )


def remembered(id: str, key: str, text: str = "text", *, importance: int = 5, replaces: str | None = None) -> Change:
    return FactRemembered(
        id=id, session_id="s", session_started=0, base=0, key=key, text=text, importance=importance, replaces=replaces
    )


def forgotten(id: str, key: str) -> Change:
    return FactForgotten(id=id, session_id="s", session_started=0, base=0, key=key)


def used(id: str, *keys: str) -> Change:
    return FactsUsed(id=id, session_id="s", session_started=0, base=0, keys=keys)


def preferred(id: str, name: str, value: str | None) -> Change:
    return PreferenceSet(id=id, session_id="s", session_started=0, base=0, name=name, value=value)


def named(id: str, name: str | None) -> Change:
    return NameSet(id=id, session_id="s", session_started=0, base=0, name=name)


def test_a_first_change_makes_the_user_exist_and_leaves_the_version_to_the_origin() -> None:
    state = apply(NOBODY, [said("1")])
    assert state == Snapshot(
        version=0,
        exists=True,
        last_id="1",
        messages=(Message(id="1", session_id="s", role="user", text="hello", at=AT),),
    )


def test_no_change_is_no_new_state() -> None:
    state = apply(NOBODY, [said("1")])
    assert apply(state, []) is state
    assert apply(tombstone_at(5).snapshot, [said("1", base=4)]) == tombstone_at(5).snapshot


@pytest.mark.parametrize(
    ("base", "session_started", "expected"),
    [
        (4, NOW + 1, False),
        (5, NOW - 1, True),
        (None, NOW - 0.000001, False),
        (None, NOW, True),
    ],
)
def test_a_deletion_drops_what_was_said_in_ignorance_of_it(
    base: int | None, session_started: float, expected: bool
) -> None:
    change = said("1", base=base, session_started=session_started)
    assert survives(change, tombstone_at(5).snapshot) == expected


def test_a_user_who_was_deleted_exists_again_with_the_next_change() -> None:
    state = apply(tombstone_at(5).snapshot, [said("1", base=5), said("2", base=4)])
    assert state.exists
    assert [message.id for message in state.messages] == ["1"]
    assert (state.erased_at, state.erased_time) == (5, NOW)


def test_messages_and_summaries_stand_in_the_order_of_their_ids() -> None:
    summaries = [SummaryAdded(id=id, session_id="s", session_started=0, text=id) for id in ("5", "4")]
    state = apply(NOBODY, [said("3"), said("1"), *summaries, said("2"), said("1")])
    assert [message.id for message in state.messages] == ["1", "2", "3"]
    assert state.summaries == (Summary(id="4", session_id="s", text="4"), Summary(id="5", session_id="s", text="5"))
    assert state.last_id == "5"


def test_the_last_id_stays_the_largest() -> None:
    assert apply(apply(NOBODY, [said("5")]), [said("3")]).last_id == "5"


def test_what_was_said_later_wins_whatever_the_order_of_arrival() -> None:
    state = apply(NOBODY, [named("2", "Ann"), named("1", "Bob"), preferred("4", "p", "b"), preferred("3", "p", "a")])
    assert (state.name, state.name_id) == ("Ann", "2")
    assert state.preferences == (Preference(name="p", id="4", value="b"),)
    unset = apply(state, [named("5", None), preferred("6", "p", None)])
    assert (unset.name, unset.name_id) == (None, "5")
    assert unset.preferences == (Preference(name="p", id="6", value=None),)


def test_preferences_stand_by_name() -> None:
    state = apply(NOBODY, [preferred("1", "b", "x"), preferred("2", "a", "x")])
    assert [preference.name for preference in state.preferences] == ["a", "b"]


def test_a_forgotten_fact_keeps_no_text_and_cannot_be_brought_back_by_an_older_change() -> None:
    state = apply(NOBODY, [forgotten("2", "k"), remembered("1", "k", "secret")])
    assert state.facts == ()
    assert state.forgotten == (Forgotten(key="k", id="2"),)
    assert "secret" not in repr(state)
    again = apply(state, [remembered("3", "k", "told again")])
    assert again.facts == (Fact(key="k", id="3", text="told again", importance=5),)
    assert again.forgotten == ()


def test_a_fact_that_is_replaced_is_history() -> None:
    state = apply(NOBODY, [remembered("1", "geneva"), remembered("2", "lisbon", replaces="geneva")])
    assert [fact.key for fact in state.facts] == ["lisbon"]
    assert [(fact.key, fact.id, fact.replaced) for fact in state.former] == [("geneva", "1", "2")]
    assert state.forgotten == ()


def test_a_snapshot_shows_no_history_and_keeps_it_from_coming_back() -> None:
    state = apply(NOBODY, [remembered("2", "geneva", "secret"), remembered("3", "lisbon", replaces="geneva")])
    snapshot = bound(state)
    assert snapshot.former == ()
    assert snapshot.forgotten == (Forgotten(key="geneva", id="2", replaced="3"),)
    assert "secret" not in repr(snapshot)
    assert [fact.key for fact in apply(snapshot, [remembered("1", "geneva")]).facts] == ["lisbon"]


def test_what_is_said_again_holds_again() -> None:
    changes = [remembered("1", "geneva"), remembered("2", "lisbon", replaces="geneva"), remembered("3", "geneva")]
    state = apply(NOBODY, changes)
    assert {fact.key for fact in state.facts} == {"geneva", "lisbon"}
    assert state.former == ()


def test_history_can_be_forgotten() -> None:
    changes = [remembered("1", "k", "secret"), remembered("2", "l", replaces="k"), forgotten("3", "k")]
    assert "secret" not in repr(apply(NOBODY, changes))


def test_a_fact_that_replaces_itself_stands() -> None:
    state = apply(NOBODY, [remembered("1", "k", "old"), remembered("2", "k", "new", replaces="k")])
    assert [fact.text for fact in state.facts] == ["new"]


def test_facts_stand_by_importance_then_by_what_was_said_or_used_last() -> None:
    changes = [
        remembered("1", "a"),
        remembered("2", "b"),
        remembered("3", "c", importance=9),
        remembered("4", "d", importance=1),
    ]
    assert [fact.key for fact in apply(NOBODY, changes).facts] == ["c", "b", "a", "d"]
    assert [fact.key for fact in apply(NOBODY, [*changes, used("5", "a", "d")]).facts] == ["c", "a", "b", "d"]


def test_a_use_may_arrive_before_what_was_used() -> None:
    early = apply(NOBODY, [used("2", "k")])
    assert early.forgotten == (Forgotten(key="k", id="", used="2"),)
    assert apply(early, [remembered("1", "k")]).facts == (Fact(key="k", id="1", text="text", importance=5, used="2"),)


def test_metadata_stays_in_the_history() -> None:
    change = replace(said("1"), metadata={"a": 1})
    state = apply(NOBODY, [change])
    assert state.messages[0].metadata == {"a": 1}
    assert bound(state).messages[0].metadata is None


def test_bounds_keep_the_newest_messages_and_summaries_and_the_best_facts() -> None:
    changes: list[Change] = [said(f"m{place:03}") for place in range(30)]
    changes += [SummaryAdded(id=f"s{place}", session_id="s", session_started=0, text="x") for place in range(9)]
    changes += [remembered(f"f{place:03}", f"k{place}", importance=place % 11) for place in range(100)]
    changes += [forgotten(f"g{place:03}", f"g{place}") for place in range(100)]
    changes += [preferred(f"p{place:03}", f"p{999 - place}", "x") for place in range(300)]
    state = apply(NOBODY, changes)
    snapshot = bound(state)
    assert [message.id for message in snapshot.messages] == [f"m{place:03}" for place in range(20, 30)]
    assert [summary.id for summary in snapshot.summaries] == ["s4", "s5", "s6", "s7", "s8"]
    assert snapshot.facts == state.facts[:64]
    assert snapshot.forgotten == state.forgotten[:64]
    assert sorted(preference.id for preference in snapshot.preferences) == [f"p{place:03}" for place in range(44, 300)]
    assert snapshot.last_id == state.last_id == "s8"


@pytest.mark.parametrize(("character", "kept"), [("x", 8192), ("é", 4096), ("🙂", 2048), ("€", 2730)])
def test_a_long_message_is_cut_between_characters(character: str, kept: int) -> None:
    state = apply(NOBODY, [said("1", character * 8193)])
    assert bound(state).messages[0].text == character * kept
    whole = apply(NOBODY, [said("1", "x" * 8192)])
    assert bound(whole).messages == whole.messages


def test_no_list_crowds_out_the_others() -> None:
    changes: list[Change] = [said(f"m{place}", "\x01" * 8192) for place in range(10)]
    changes += [remembered(f"f{place:03}", f"k{place}", "x" * 1024) for place in range(64)]
    changes += [SummaryAdded(id=f"s{place}", session_id="s", session_started=0, text="x" * 8192) for place in range(5)]
    changes += [preferred(f"p{place:03}", f"p{place}", "x" * 1024) for place in range(256)]
    snapshot = bound(apply(NOBODY, changes))
    assert LIMITS.snapshot * 0.8 < len(msgspec.json.encode(snapshot)) <= LIMITS.snapshot
    assert snapshot.messages[-1].id == "m9"
    assert snapshot.summaries[-1].id == "s4"
    assert snapshot.facts[0].id == "f063"
    assert len(snapshot.facts) > 2
    assert len(snapshot.preferences) > 2


def test_an_overlay_is_tentative_from_now_on_and_no_younger() -> None:
    laid = overlay(entry_at(5), [said("1")], now=NOW + 7)
    assert (laid.tentative_at, laid.synced_at) == (NOW + 7, NOW)
    assert laid.snapshot.version == 5
    assert [message.id for message in laid.snapshot.messages] == ["1"]


def test_a_second_overlay_is_newer_even_if_the_clock_went_back() -> None:
    first = Entry(snapshot=entry_at(5).snapshot, synced_at=NOW, tentative_at=NOW)
    second = overlay(first, [said("1")], now=NOW - 100)
    assert second.order == (5, round(NOW * 1_000_000) + 1, round(NOW * 1_000_000))


def test_an_overlay_of_nothing_is_the_entry_itself() -> None:
    entry = entry_at(5)
    assert overlay(entry, [], now=NOW) is entry
    assert overlay(tombstone_at(5), [said("1", base=4)], now=NOW) == tombstone_at(5)


def test_a_snapshot_is_within_its_limit_to_the_byte() -> None:
    changes: list[Change] = [said("1"), remembered("2", "k"), forgotten("3", "g"), preferred("4", "p", "x")]
    state = apply(NOBODY, [*changes, SummaryAdded(id="5", session_id="s", session_started=0, text="x")])
    for limit in range(250, len(msgspec.json.encode(state)) + 1):
        snapshot = bound(state, replace(LIMITS, snapshot=limit))
        assert len(msgspec.json.encode(snapshot)) <= limit
    assert snapshot == state
