import unicodedata
from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgememory.ids import next_id
from edgememory.keys import MAX_KEY_BYTES, entry_key, fact_key, id_days, id_time
from edgememory.models import UserKey
from edgememory.testing.examples import AWKWARD_IDS
from edgememory.testing.strategies import ids, texts


def test_a_plain_user_has_a_plain_key() -> None:
    assert entry_key(UserKey("default", "user-42")) == "em:1:default:user-42"


def test_separators_and_wildcards_are_encoded() -> None:
    assert entry_key(UserKey("a:b", "+41 79/*?é")) == "em:1:a%3Ab:%2B41%2079%2F%2A%3F%C3%A9"


def test_no_two_users_share_a_key() -> None:
    users = [UserKey(namespace, id) for namespace in ("a", "A", "a:b", "em:1:a") for id in [*AWKWARD_IDS, "b:c", "c"]]
    for one, other in combinations(users, 2):
        assert entry_key(one) != entry_key(other)


@given(texts, texts.map(lambda text: text * 10), texts, texts.map(lambda text: text * 10))
def test_keys_are_equal_only_if_users_are(namespace: str, user: str, namespace2: str, user2: str) -> None:
    one, other = UserKey(namespace, user), UserKey(namespace2, user2)
    assert (entry_key(one) == entry_key(other)) == (one == other)


def test_a_key_of_512_bytes_is_plain_and_a_longer_one_is_hashed() -> None:
    room = MAX_KEY_BYTES - len("em:1:n:")
    assert entry_key(UserKey("n", "x" * room)) == f"em:1:n:{'x' * room}"
    hashed = entry_key(UserKey("n", "x" * (room + 1)))
    assert len(hashed) == len("em:1:n:#") + 64
    assert hashed.startswith("em:1:n:#")


def test_with_a_secret_no_user_stands_in_a_key() -> None:
    key = entry_key(UserKey("clinic", "+41791234567"), secret="s3cret")
    assert key.startswith("em:1:clinic:$")
    assert "4179" not in key
    assert len(key) == len("em:1:clinic:$") + 64
    assert key != entry_key(UserKey("clinic", "+41791234567"), secret="another")


def test_with_a_secret_users_are_still_apart_and_cannot_be_linked() -> None:
    users = [UserKey(namespace, id) for namespace in ("a", "A", "a:b") for id in [*AWKWARD_IDS, "b:c", "c"]]
    keys = [entry_key(user, secret="s3cret") for user in users]
    assert len(set(keys)) == len(users)
    assert len({key.rpartition("$")[2] for key in keys}) == len(users), "nor by namespace"


@pytest.mark.parametrize("user_id", ["🙂" * 128, "%" * 512])
@pytest.mark.parametrize("namespace", ["n", "🙂" * 16])
def test_no_key_is_longer_than_workers_kv_takes(namespace: str, user_id: str) -> None:
    key = entry_key(UserKey(namespace, user_id))
    assert len(key.encode()) <= MAX_KEY_BYTES
    assert key.isascii()


@pytest.mark.parametrize(
    "same",
    [
        "lives in lisbon",
        "LIVES IN LISBON",
        "  Lives  in\n\tLisbon ",
        "Lives\u00a0in\u2003Lisbon",
        "\uff2c\uff49\uff56\uff45\uff53 in Lisbon",
    ],
)
def test_saying_it_in_another_form_is_the_same_fact(same: str) -> None:
    assert fact_key(same) == fact_key("Lives in Lisbon")


@pytest.mark.parametrize(
    ("one", "other"), [("Straße", "STRASSE"), ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"), ("\u0390", "\u0390".upper()), ("İ", "i̇")]
)
def test_case_is_folded_in_every_script(one: str, other: str) -> None:
    for form in ("NFC", "NFD"):
        assert fact_key(unicodedata.normalize(form, one)) == fact_key(other)


@pytest.mark.parametrize("other", ["Lives in Lisbon.", "Livesin Lisbon", "Lives in Lisboa", "L"])
def test_other_words_are_another_fact(other: str) -> None:
    assert fact_key(other) != fact_key("Lives in Lisbon")


def test_a_facts_key_does_not_change_between_releases() -> None:
    assert fact_key("Lives in Lisbon") == "0e137167e202c4cff6e4f455927ad2b8"


def test_an_id_says_when_it_was_made() -> None:
    assert id_time("00000000-0000-7000-8000-000000000000") == datetime(1970, 1, 1, tzinfo=UTC)
    assert id_time("019CABD8-3BE7-7FFF-BFFF-FFFFFFFFFFFF") == datetime(2026, 3, 2, 0, 0, 0, 999_000, tzinfo=UTC)
    before = datetime.now(UTC).timestamp()
    made = id_time(next_id())
    assert made is not None
    assert before - 0.001 <= made.timestamp() <= datetime.now(UTC).timestamp()


NO_TIME = [
    "",
    "0",
    "user-42",
    "019cabd8-3800-4000-8000-000000000000",  # another version
    "019cabd8-3800-7000-c000-000000000000",  # another variant
    "019cabd838007000800000000000000000000",
    "019cabd8-3800-7000-8000-00000000000g",
    "019cabd8-3800-7000-8000-000000000000 ",
    "ffffffff-ffff-7000-8000-000000000000",  # the year 10889
]


@pytest.mark.parametrize("id", NO_TIME)
def test_what_is_no_uuid7_says_no_time(id: str) -> None:
    assert id_time(id) is None


@given(st.lists(ids | st.sampled_from(NO_TIME) | st.uuids().map(str)))
def test_the_days_of_many_ids_are_those_of_each(many: list[str]) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    each = [id_time(id) for id in many]
    assert id_days(many) == [None if made is None else (made - epoch).days for made in each]


def test_the_day_turns_at_midnight() -> None:
    assert id_days(["019cabd8-37ff-7000-8000-000000000000", "019cabd8-3800-7000-8000-000000000000"]) == [20513, 20514]
