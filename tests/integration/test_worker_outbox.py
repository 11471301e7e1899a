"""The Worker's outbox: what was appended waits until it is acknowledged or rejected."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.worker.client import USER, append, caller, changes, code, new_key, outbox, path
from tests.worker.server import WorkerServer

BAD_REQUEST = (400, "bad_request")
MIB = 1024 * 1024


@pytest.fixture
def client(empty_worker: WorkerServer) -> Iterator[httpx.Client]:
    with caller(empty_worker) as client:
        yield client


@pytest.fixture
def key() -> str:
    return new_key()


def claim(client: httpx.Client, now: float, *, limit: int = 10, lease: float = 30.0) -> list[dict]:
    answer = client.post("/v1/outbox/claim", json={"lease": lease, "limit": limit, "now": now})
    assert answer.status_code == 200
    return answer.json()["claims"]


def settle(
    client: httpx.Client, key: str, token: str, *ids: str, now: float, version: int = 1, error: str | None = None
) -> None:
    end = {"version": version} if error is None else {"error": error}
    action = "/ack" if error is None else "/reject"
    answer = client.post(outbox(key, action), json={"token": token, "ids": ids, "now": now, **end})
    assert (answer.status_code, answer.content) == (204, b"")


def waiting(client: httpx.Client, key: str) -> tuple[list[str], int]:
    answer = client.get(path(key), params={"pending": 1}).json()
    return [change["id"] for change in answer["changes"]], answer["floor"]


def depth(client: httpx.Client, now: float) -> dict:
    return client.get("/v1/outbox/depth", params={"now": now}).json()


def test_an_append_answers_what_now_waits_in_the_order_of_ids(client: httpx.Client, key: str) -> None:
    append(client, key, "b", "é", "Z")
    assert append(client, key, "a").json() == {"changes": changes("Z", "a", "b", "é"), "floor": 0}
    assert append(client, key).json() == {"changes": changes("Z", "a", "b", "é"), "floor": 0}
    assert append(client, new_key()).json() == {"changes": [], "floor": 0}


def test_one_request_opens_a_session(client: httpx.Client, key: str) -> None:
    assert client.get(path(key), params={"pending": 1}).json() == {
        "entry": None, "order": None, "changes": [], "floor": 0
    }  # fmt: skip
    client.put(path(key), content="text", headers={"Edgememory-Order": "3.2.1", "Edgememory-Keep": "60"})
    append(client, key, "a")
    assert client.get(path(key), params={"pending": 1}).json() == {
        "entry": "text", "order": "3.2.1", "changes": changes("a"), "floor": 0
    }  # fmt: skip


def test_a_change_is_kept_once_and_its_first_body_stays(client: httpx.Client, key: str) -> None:
    body = {"user": USER, "changes": [*changes("a", body="first"), *changes("a", body="second")], "now": 1}
    client.post(outbox(key), json=body)
    assert append(client, key, "a", body="third").json()["changes"] == changes("a", body="first")
    assert depth(client, 1)["changes"] == 1


@pytest.mark.parametrize("text", ["\n" * MIB, "🦜x" * 500_000, "\x00", " ", "\u2028", '"'])
def test_a_body_comes_back_as_it_was(client: httpx.Client, key: str, text: str) -> None:
    assert append(client, key, "a", "b", body=text).json()["changes"] == changes("a", "b", body=text)
    [claimed] = claim(client, 100)
    assert claimed["changes"][0]["body"] == text


def test_an_append_over_the_limits_keeps_nothing(client: httpx.Client, key: str) -> None:
    append(client, key, "a", "b", "c", body="x" * (2 * MIB))
    assert code(append(client, key, "d", "e", body="é" * (MIB // 2 + 10))) == (507, "outbox_full")
    assert append(client, key, "d", "a", body="é" * MIB).status_code == 200, "what is there already takes no place"
    assert waiting(client, key)[0] == ["a", "b", "c", "d"]
    assert code(append(client, key, "e", body="x")) == (507, "outbox_full")
    assert code(append(client, key, "f", body="x" * 8 * MIB)) == (413, "too_large")
    [claimed] = claim(client, 100)
    settle(client, key, claimed["token"], "a", now=100)
    assert append(client, key, "e", body="x").status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": None},
        {"user": {"namespace": "n"}},
        {"changes": None},
        {"changes": [{"id": "a"}]},
        {"changes": [{"id": "", "body": "x"}]},
        {"changes": [{"id": "a", "body": ""}]},
        {"now": "1"},
        {"now": None},
    ],
    ids=str,
)
def test_an_append_that_cannot_be_read_is_refused(client: httpx.Client, key: str, wrong: dict) -> None:
    whole = {"user": USER, "changes": changes("a"), "now": 1.5}
    assert code(client.post(outbox(key), json={**whole, **wrong})) == BAD_REQUEST
    assert waiting(client, key) == ([], 0)


def test_other_requests_that_cannot_be_read_are_refused(client: httpx.Client, key: str) -> None:
    good = {"lease": 30, "limit": 1, "now": 1, "token": "t", "ids": ["a"], "version": 1, "error": "no"}
    wrong = {
        "/v1/outbox/claim": [{"lease": 0}, {"limit": 0}, {"limit": 101}, {"limit": 1.5}, {"now": "x"}],
        outbox(key, "/ack"): [{"token": 1}, {"ids": "a"}, {"ids": [1]}, {"version": -1}, {"version": 2**53 + 2}],
        outbox(key, "/reject"): [{"token": None}, {"ids": None}, {"error": 5}],
    }
    for where, each in wrong.items():
        for change in each:
            assert code(client.post(where, json={**good, **change})) == BAD_REQUEST, (where, change)
    for query in ("depth", "depth?now=x", "dead", "dead?limit=0", "dead?limit=101"):
        assert code(client.get(f"/v1/outbox/{query}")) == BAD_REQUEST, query


def test_a_claim_carries_the_user_and_is_nobody_else_s_until_its_lease_ends(client: httpx.Client, key: str) -> None:
    append(client, key, "a", "b", now=100)
    [first] = claim(client, 100)
    assert first == {"key": key, "user": USER, "token": first["token"], "changes": changes("a", "b")}
    append(client, key, "c", now=101)
    assert claim(client, 129.999) == []
    [heir] = claim(client, 130)
    assert [change["id"] for change in heir["changes"]] == ["a", "b", "c"]
    assert heir["token"] != first["token"]


def test_a_settled_claim_ends_its_lease(client: httpx.Client, key: str) -> None:
    append(client, key, "a", "b", now=100)
    [first] = claim(client, 100)
    append(client, key, "c", now=101)
    settle(client, key, first["token"], "a", now=102, version=7)
    assert claim(client, 103) == []
    settle(client, key, first["token"], "b", now=103, error="no")
    [second] = claim(client, 103)
    assert second["changes"] == changes("c")
    settle(client, key, second["token"], "c", now=104, version=5)
    assert waiting(client, key) == ([], 7), "the floor never goes down"
    assert claim(client, 1000) == []


def test_a_late_acknowledgement_counts_and_leaves_the_heir_its_lease(client: httpx.Client, key: str) -> None:
    append(client, key, "a", now=100)
    [slow] = claim(client, 100)
    [heir] = claim(client, 130)
    append(client, key, "b", now=131)
    settle(client, key, slow["token"], "a", now=132, version=2**53)
    assert waiting(client, key) == (["b"], 2**53)
    assert claim(client, 133) == []
    settle(client, key, heir["token"], "a", now=134)
    assert len(claim(client, 134)) == 1


def test_what_is_appended_to_an_heir_s_empty_claim_waits_for_its_lease(client: httpx.Client, key: str) -> None:
    append(client, key, "a", now=100)
    [slow] = claim(client, 100)
    claim(client, 130)
    settle(client, key, slow["token"], "a", now=131)
    append(client, key, "b", now=132)
    assert claim(client, 159) == []
    assert len(claim(client, 160)) == 1


def test_the_object_keeps_its_lease_where_the_index_missed_it(
    client: httpx.Client, empty_worker: WorkerServer, key: str
) -> None:
    append(client, key, "a", now=100)
    empty_worker.break_down(indexFails=True)
    assert len(claim(client, 100)) == 1
    assert claim(client, 101) == []


def test_a_user_of_whom_nothing_is_left_starts_to_wait_anew(client: httpx.Client, key: str) -> None:
    append(client, key, "a", now=100)
    [slow] = claim(client, 100)
    claim(client, 130)
    settle(client, key, slow["token"], "a", now=131)
    other = new_key()
    append(client, other, "a", now=200)
    append(client, key, "b", now=201)
    assert [each["key"] for each in claim(client, 202)] == [other, key]


def test_a_clock_set_back_locks_nobody(client: httpx.Client, key: str) -> None:
    append(client, key, "a", now=100_000)
    assert len(claim(client, 100)) == 1
    assert claim(client, 101) == []
    assert len(claim(client, 50)) == 1


def test_who_waits_longest_comes_first_over_all_shards(client: httpx.Client) -> None:
    keys = [new_key() for _ in range(30)]
    for place, key in enumerate(keys):
        append(client, key, "a", now=100 + place)
    handed_out = [each["key"] for each in claim(client, 200, limit=10)]
    assert handed_out == keys[:10]
    later = [each["key"] for each in claim(client, 231, limit=100)]
    assert (later[:20], sorted(later[20:])) == (keys[10:], sorted(keys[:10]))


def test_a_claim_is_bounded_and_the_first_change_always_fits(client: httpx.Client, key: str) -> None:
    append(client, key, *(f"{number:03}" for number in range(300)))
    [many] = claim(client, 100)
    assert len(many["changes"]) == 256
    big = new_key()
    append(client, big, "a", body="x" * (2 * MIB))
    append(client, big, "b")
    [first] = claim(client, 100)
    assert [change["id"] for change in first["changes"]] == ["a"]
    settle(client, big, first["token"], "a", now=100)
    append(client, big, "c", "d", body="x" * 600_000)
    [rest] = claim(client, 100)
    assert [change["id"] for change in rest["changes"]] == ["b", "c"]


def test_an_answer_to_a_claim_is_bounded_over_users(client: httpx.Client) -> None:
    for place in range(20):
        append(client, f"k{place}", "a", body="x" * MIB)
    claims = claim(client, 100, limit=100)
    assert 8 <= len(claims) < 20
    assert len(claims) + len(claim(client, 100, limit=100)) + len(claim(client, 100, limit=100)) == 20


def test_depth_counts_what_waits_leased_or_not(client: httpx.Client) -> None:
    assert depth(client, 5) == {"changes": 0, "users": 0, "dead": 0, "oldest_age": None}
    append(client, "k", "a", "b", now=100)
    append(client, "k", "c", now=103)
    append(client, "other", "a", now=105)
    claim(client, 105, limit=1)
    assert depth(client, 106) == {"changes": 4, "users": 2, "dead": 0, "oldest_age": 6}
    assert depth(client, 99)["oldest_age"] == 0


def test_dead_letters_are_kept_and_shown_newest_first(client: httpx.Client, key: str) -> None:
    long = "🦜" + "x" * 300_000
    append(client, key, "a", "b", now=100, body=long)
    append(client, "other", "c", now=100)
    tokens = {each["key"]: each["token"] for each in claim(client, 100)}
    settle(client, key, tokens[key], "a", now=101, error="first")
    settle(client, "other", tokens["other"], "c", now=102, error="second")
    for _ in range(2):
        settle(client, key, tokens[key], "b", "unknown", now=103, error="third")
    dead = client.get("/v1/outbox/dead?limit=10").json()["dead"]
    assert [(each["id"], each["error"], each["at"]) for each in dead] == [
        ("b", "third", 103), ("c", "second", 102), ("a", "first", 101)
    ]  # fmt: skip
    assert dead[2] == {"user": USER, "id": "a", "body": long, "error": "first", "at": 101}
    assert [each["id"] for each in client.get("/v1/outbox/dead?limit=2").json()["dead"]] == ["b", "c"]
    assert depth(client, 104) == {"changes": 0, "users": 0, "dead": 3, "oldest_age": None}
    assert claim(client, 1000) == []


def test_of_dead_letters_of_one_moment_the_last_is_the_newest(client: httpx.Client, key: str) -> None:
    append(client, key, "a", "b", "c", now=100)
    [claimed] = claim(client, 100)
    for id in ("a", "b", "c"):
        settle(client, key, claimed["token"], id, now=101, error="no")
    assert [each["id"] for each in client.get("/v1/outbox/dead?limit=2").json()["dead"]] == ["c", "b"]


def test_of_many_claimants_each_change_goes_to_one(client: httpx.Client, empty_worker: WorkerServer) -> None:
    expected = sorted(f"{key}{number}" for key in "abcdefg" for number in range(5))

    def deliver(_: int) -> list[str]:
        delivered: list[str] = []
        with caller(empty_worker) as mine:
            while depth(mine, 100)["changes"] > 0:
                for each in claim(mine, 100, limit=2):
                    ids = [change["id"] for change in each["changes"]]
                    delivered += ids
                    settle(mine, each["key"], each["token"], *ids, now=100)
        return delivered

    for key in "abcdefg":
        append(client, key, *(f"{key}{number}" for number in range(5)))
    with ThreadPoolExecutor(4) as threads:
        delivered = [id for each in threads.map(deliver, range(4)) for id in each]
    assert sorted(delivered) == expected
