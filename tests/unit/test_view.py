"""What a session shows: the newest entry it knows, its own changes on it, and the end when its user is deleted."""

import pytest
from msgspec.structs import replace

from edgememory.models import Entry, Snapshot
from edgememory.testing.examples import NOW, entry_at, tombstone_at
from edgememory.testing.talk import Talk
from edgememory.view import View


def opened(entry: Entry | None = None, *, started: float = NOW - 60) -> View:
    view = View(started=started)
    if entry is not None:
        view.open_on(entry)
    return view


def facts(view: View) -> list[str]:
    return [fact.text for fact in view.snapshot.facts]


def talk(view: View) -> Talk:
    return Talk(base=view.base, started=view.started)


def test_a_change_shows_at_once_and_on_every_newer_entry() -> None:
    view = opened(entry_at(5, text="old"))
    view.make(talk(view).remembers("own"))
    assert facts(view) == ["own", "old"]
    view.adopt(entry_at(6, text="newer"))
    assert facts(view) == ["own", "newer"]
    assert view.base == 6


def test_changes_made_before_anything_was_seen_show_on_what_arrives_late() -> None:
    view = opened()
    view.make(talk(view).remembers("own"))
    assert view.base is None
    view.adopt(entry_at(5, text="late"))
    assert facts(view) == ["own", "late"]


@pytest.mark.parametrize("late", [entry_at(4, text="older"), entry_at(5, text="same", synced_at=NOW - 1)])
def test_an_older_entry_changes_nothing(late: Entry) -> None:
    view = opened(entry_at(5, text="known"))
    view.adopt(late)
    view.open_on(late)
    assert facts(view) == ["known"]
    assert not view.adopted


def test_what_waits_in_the_outbox_shows_too() -> None:
    view = View(started=NOW)
    view.wait_for([Talk().remembers("said in the call before")])
    view.open_on(entry_at(5, text="old"))
    assert facts(view) == ["said in the call before", "old"]


def test_what_the_origin_refused_is_shown_no_longer() -> None:
    view = View(started=NOW)
    other = Talk().remembers("of another session")
    view.wait_for([other])
    view.open_on(entry_at(5, text="old"))
    own = talk(view).remembers("own")
    view.make(own)
    view.unmake([own.id, other.id, "unknown"])
    assert facts(view) == ["old"]


def test_what_was_refused_before_anything_was_seen_is_shown_no_longer() -> None:
    view = opened()
    bad, good = talk(view).remembers("bad"), talk(view).remembers("good")
    view.make(bad)
    view.make(good)
    view.unmake([bad.id])
    assert facts(view) == ["good"]


def test_a_late_answer_of_the_outbox_does_not_bring_back_what_was_refused() -> None:
    view = opened(entry_at(5, text="old"))
    bad = talk(view).remembers("bad")
    view.make(bad)
    view.unmake([bad.id])
    view.wait_for([bad])
    assert facts(view) == ["old"]
    assert view.tentative(entry_at(5), [bad], now=NOW).tentative_at == 0


def test_what_the_outbox_holds_no_more_is_not_shown_to_others_as_tentative() -> None:
    """Another process may have delivered it, or buried it: then nobody told this one."""
    view = opened(entry_at(5, text="old"))
    view.wait_for([Talk(base=5).remembers("buried")])
    own = talk(view).remembers("own")
    view.make(own)
    entry = view.tentative(entry_at(5, text="old"), [own], now=NOW)
    assert [fact.text for fact in entry.snapshot.facts] == ["own", "old"]


def test_a_deletion_ends_a_session_that_saw_the_user() -> None:
    view = opened(entry_at(5, text="old"))
    view.make(talk(view).remembers("own"))
    view.adopt(tombstone_at(6))
    assert view.ended
    assert view.snapshot == Snapshot(version=0, exists=False)
    assert view.own == {}
    view.unmake(["of-a-refusal-that-comes-late"])
    assert view.snapshot == Snapshot(version=0, exists=False)


def test_a_deletion_ends_a_session_that_saw_nothing_but_has_said_something() -> None:
    view = opened()
    view.make(talk(view).remembers("own"))
    view.adopt(tombstone_at(6))
    assert view.ended


def test_an_ended_session_shows_nothing_of_a_user_who_exists_again() -> None:
    for view in (opened(), opened(entry_at(5))):
        view.make(talk(view).remembers("own"))
        view.adopt(tombstone_at(6))
        again = Snapshot(version=7, exists=True, erased_at=6, erased_time=NOW, name="Again")
        view.adopt(Entry(snapshot=again, synced_at=NOW + 1))
        assert view.ended
        assert view.snapshot.name is None


def test_a_deletion_does_not_end_a_session_that_has_seen_and_said_nothing() -> None:
    view = opened()
    view.adopt(tombstone_at(6))
    assert not view.ended
    assert view.base == 6


def test_a_session_begun_after_the_deletion_starts_over_empty() -> None:
    view = opened(entry_at(5, text="stale"), started=NOW + 1)
    view.make(talk(view).remembers("said knowing the stale"))
    view.adopt(tombstone_at(6))
    assert not view.ended
    assert facts(view) == []
    view.make(talk(view).remembers("said since"))
    assert facts(view) == ["said since"]


def test_opening_on_a_tombstone_ends_nothing() -> None:
    view = opened(tombstone_at(6), started=NOW - 1)
    view.make(talk(view).remembers("new"))
    assert not view.ended
    assert facts(view) == ["new"]


def test_what_others_are_shown_is_tentative_and_newer() -> None:
    entry = entry_at(5, text="old")
    view = opened(entry)
    view.make(own := talk(view).remembers("own"))
    shown = view.tentative(entry, [own], now=NOW)
    assert shown.order > entry.order
    assert shown.synced_at == entry.synced_at
    assert shown.snapshot == view.snapshot


def test_an_entry_that_has_it_all_already_is_shown_as_it_is() -> None:
    """Nothing would ever replace a tentative entry whose changes the origin had before."""
    view = opened(entry_at(5))
    view.make(own := talk(view).remembers("own"))
    acknowledged = Entry(snapshot=replace(view.snapshot, version=6), synced_at=NOW)
    assert view.tentative(acknowledged, [own], now=NOW + 1) == acknowledged
