from datetime import UTC, datetime, timedelta, timezone

import pytest

from edgememory.errors import InvalidInputError
from edgememory.limits import (
    LIMITS,
    check_bool,
    check_importance,
    check_metadata,
    check_new_preference,
    check_role,
    check_scalar,
    check_seconds,
    check_text,
    check_time,
    check_user,
    check_version,
)
from edgememory.models import Preference, UserKey


@pytest.mark.parametrize("text", ["x", "x" * 10, "é" * 5, "🙂🙂", " ", "\n", "\x01", "\ufeff", "%_./:"])
def test_text_within_its_limit_is_taken_as_it_is(text: str) -> None:
    assert check_text("name", text, 10) is text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "name is empty"),
        ("a\0b", "name holds a NUL character"),
        ("a\ud800", "name holds a lone surrogate"),
        ("x" * 11, "name is 11 bytes long; the limit is 10"),
        ("é" * 6, "name is 12 bytes long; the limit is 10"),
        (b"x", "name must be a string, not bytes"),
        (None, "name must be a string, not NoneType"),
        (5, "name must be a string, not int"),
    ],
)
def test_other_text_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        check_text("name", text, 10)


def test_a_user_is_two_texts_within_their_limits() -> None:
    assert check_user("default", "x" * 512) == UserKey("default", "x" * 512)
    with pytest.raises(InvalidInputError, match="user_id is 513 bytes"):
        check_user("default", "x" * 513)
    with pytest.raises(InvalidInputError, match="namespace is empty"):
        check_user("", "x")


@pytest.mark.parametrize("value", ["", "x", 0, -(2**63), 2**63 - 1, 0.0, -0.5, 1e308, True, False, None])
def test_a_scalar_that_json_holds_exactly_is_taken(value: str | int | float | bool | None) -> None:
    assert check_scalar("value", value, 10) is value


@pytest.mark.parametrize(
    "value",
    [
        2**63,
        -(2**63) - 1,
        pytest.param(10**5000, id="huge"),
        float("nan"),
        float("inf"),
        -float("inf"),
        "x" * 11,
        "\0",
        "\ud800",
        b"x",
        [],
        {},
        1j,
    ],
)
def test_any_other_scalar_is_refused(value: str) -> None:
    with pytest.raises(InvalidInputError, match="value"):
        check_scalar("value", value, 10)


@pytest.mark.parametrize("value", [0, 5, 10])
def test_importance_is_a_whole_number_from_0_to_10(value: int) -> None:
    assert check_importance(value) == value


@pytest.mark.parametrize("value", [-1, 11, 5.0, True, "5", None])
def test_any_other_importance_is_refused(value: int) -> None:
    with pytest.raises(InvalidInputError, match="importance"):
        check_importance(value)


def test_a_time_is_kept_in_utc_to_the_second() -> None:
    for zone in (UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(minutes=17, seconds=30))):
        at = datetime(2026, 1, 2, tzinfo=zone)
        assert check_time("at", at) == at
        assert check_time("at", at).tzinfo is UTC


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (datetime(2026, 1, 2), "at has no time zone"),  # noqa: DTZ001 - that is the point
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "at is outside of the years 1 to 9999"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=12))), "at is outside of the years 1 to 9999"),
        ("2026-01-02", "at must be a datetime, not str"),
    ],
)
def test_a_time_that_no_store_can_hold_is_refused(at: datetime, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        check_time("at", at)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_what_is_merely_true_or_false_is_refused(value: bool) -> None:
    assert check_bool("interrupted", True) is True
    with pytest.raises(InvalidInputError, match="interrupted must be True or False"):
        check_bool("interrupted", value)


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None, float("nan")])
def test_a_version_is_a_whole_number(value: int) -> None:
    assert check_version("at_least", 2**40) == 2**40
    with pytest.raises(InvalidInputError, match="at_least must be a version"):
        check_version("at_least", value)


@pytest.mark.parametrize("value", ["1", None, float("nan"), True])
def test_seconds_are_a_number(value: float) -> None:
    assert [check_seconds("timeout", given) for given in (-1, 0.5, float("inf"))] == [0, 0.5, float("inf")]
    with pytest.raises(InvalidInputError, match="timeout must be a number of seconds"):
        check_seconds("timeout", value)


def test_a_role_is_one_of_four() -> None:
    assert check_role("tool") == "tool"
    with pytest.raises(InvalidInputError, match="role must be one of user, assistant, system, tool"):
        check_role("User")  # type: ignore[arg-type]


def test_metadata_is_flat_and_copied() -> None:
    given = {"a": 1, "b": None}
    checked = check_metadata(given)
    assert checked == given
    assert checked is not given
    assert check_metadata({}) is None
    assert check_metadata(None) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {"": 1},
        {1: 1},
        {"a": {"b": 1}},
        {"a": [1]},
        {"a": float("nan")},
        {"a": 2**63},
        {"a": "\0"},
        {"a": "x" * 4090},
        {str(place): "x" * 50 for place in range(100)},
        [("a", 1)],
    ],
)
def test_other_metadata_is_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(InvalidInputError, match="metadata"):
        check_metadata(metadata)


def test_one_preference_too_many_is_refused_and_an_unset_one_makes_room() -> None:
    full = [Preference(name=str(place), id="i", value=place) for place in range(LIMITS.preferences)]
    check_new_preference("0", full)
    with pytest.raises(InvalidInputError, match="256 preferences; the limit is 256"):
        check_new_preference("new", full)
    check_new_preference("new", [*full[1:], Preference(name="0", id="i", value=None)])
