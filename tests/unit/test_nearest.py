"""Which copy of the database is asked: the nearest that answers, without taking turns."""

import math

import pytest

from edgememory import ConfigError
from edgememory.stores.postgres import PostgresReplica
from edgememory.stores.postgres.nearest import (
    CLEARLY,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    PATIENCE,
    SOON,
    Copy,
    choose,
    in_turn,
)


def copies(*round_trips: float) -> list[Copy]:
    return [Copy(name, round_trip) for name, round_trip in zip("abcd", round_trips, strict=False)]


def asked(known: list[Copy], chosen: Copy, now: float = 0.0) -> str:
    return "".join(copy.name for copy in in_turn(known, chosen, now))


def test_until_a_distance_is_known_the_first_is_asked() -> None:
    known = copies(math.inf, math.inf)
    assert choose(known, known[0]) is known[0]
    assert asked(known, known[0]) == "ab"


@pytest.mark.parametrize(("present", "other", "changes"), [(0.1, 0.079, True), (0.1, 0.1 * CLEARLY, False)])
def test_another_takes_over_only_if_it_is_clearly_nearer(present: float, other: float, changes: bool) -> None:
    known = copies(present, other)
    assert choose(known, known[0]) is known[changes]


def test_of_those_that_are_equally_far_the_first_is_nearest() -> None:
    known = copies(0.1, 0.01, 0.01)
    assert choose(known, known[0]).name == "b"


def test_one_that_can_not_be_measured_any_more_hands_over() -> None:
    known = copies(math.inf, 0.3)
    assert choose(known, known[0]) is known[1]


def test_the_others_are_asked_by_distance() -> None:
    known = copies(0.2, 0.1, math.inf, 0.15)
    assert asked(known, known[0]) == "abdc"


def test_who_failed_is_asked_last_until_its_pause_is_over() -> None:
    known = copies(0.01, 0.2, 0.1)
    known[0].failed(10.0)
    assert asked(known, known[0], 10.0) == "cba"
    assert asked(known, known[0], 10.0 + FIRST_PAUSE) == "acb"


def test_if_all_have_failed_they_are_asked_as_ever() -> None:
    known = copies(0.2, 0.1)
    for copy in known:
        copy.failed(0.0)
    assert asked(known, known[1], 0.5) == "ba"


def test_the_pause_doubles_with_each_failure_in_a_row_and_ends_with_an_answer() -> None:
    [copy] = copies(0.1)
    now, pauses = 0.0, []
    for _ in range(8):
        copy.failed(now)
        pauses.append(copy.down_until - now)
        now = copy.down_until
        assert not copy.is_down(now)
    assert pauses == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE]
    copy.answered()
    copy.failed(now)
    assert copy.down_until == now + FIRST_PAUSE


def test_readers_who_failed_together_count_as_one_failure() -> None:
    [copy] = copies(0.1)
    for moment in range(5):
        copy.failed(moment / 10)
    assert copy.down_until == FIRST_PAUSE


@pytest.mark.parametrize(
    ("round_trip", "patience"), [(math.inf, SOON), (0.001, SOON), (0.1, 0.1 * PATIENCE)], ids=["unknown", "near", "far"]
)
def test_only_a_silence_that_is_long_for_its_distance_is_held_against_it(round_trip: float, patience: float) -> None:
    [copy] = copies(round_trip)
    assert not copy.is_overdue(patience)
    assert copy.is_overdue(math.nextafter(patience, 1.0))


def test_a_replica_without_servers_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="one server at least"):
        PostgresReplica({})
