"""The Worker when a part of it is slow, old, down, or was just killed."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.worker.client import append, caller, code, eventually, new_key, path, put
from tests.worker.server import WorkerServer


@pytest.fixture
def client(worker: WorkerServer) -> Iterator[httpx.Client]:
    with caller(worker) as client:
        yield client


@pytest.fixture
def key() -> str:
    return new_key()


def put_into_kv(worker: WorkerServer, client: httpx.Client, key: str, text: str, order: str) -> None:
    assert put(client, key, text, order).status_code == 204
    eventually(lambda: worker.in_kv(key) == text)


def answer_and_source(answer: httpx.Response) -> tuple[str, str]:
    assert answer.status_code == 200
    return answer.text, answer.headers["Edgememory-Source"]


def test_a_caller_who_calls_back_meets_the_new_entry_whatever_kv_has_in_its_cache(
    worker: WorkerServer, client: httpx.Client, key: str
) -> None:
    put_into_kv(worker, client, key, "old", "1.0.0")
    worker.break_down(kvStands=True)
    client.get(path(key))
    for version in range(2, 6):
        assert put(client, key, f"new {version}", f"{version}.0.0").status_code == 204
        assert answer_and_source(client.get(path(key))) == (f"new {version}", "object")
    worker.break_down(kvStands=True, objectFails=True)
    assert answer_and_source(client.get(path(key))) == ("old", "kv"), "which is what the callers were spared"


def test_a_new_user_is_met_though_kv_has_cached_the_absence(
    worker: WorkerServer, client: httpx.Client, key: str
) -> None:
    worker.break_down(kvStands=True)
    assert code(client.get(path(key))) == (404, "not_found")
    put(client, key, "new", "1.0.0")
    eventually(lambda: worker.in_kv(key) == "new")
    assert answer_and_source(client.get(path(key))) == ("new", "object")


def test_a_slow_object_that_has_the_entry_outranks_a_cached_absence(
    worker: WorkerServer, client: httpx.Client, key: str
) -> None:
    worker.break_down(kvStands=True)
    client.get(path(key))
    put(client, key, "new", "1.0.0")
    worker.break_down(kvStands=True, objectDelay=200)
    assert answer_and_source(client.get(path(key))) == ("new", "object")


def test_kv_answers_where_the_object_is_silent(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    put_into_kv(worker, client, key, "text", "7.5.3")
    worker.break_down(objectDelay=500)
    answer = client.get(path(key))
    assert answer_and_source(answer) == ("text", "kv")
    assert answer.headers["ETag"] == '"7.5.3"'


def test_a_version_that_kv_has_not_is_waited_for(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    put_into_kv(worker, client, key, "text", "7.0.0")
    worker.break_down(objectDelay=300)
    sources = [
        client.get(path(key), headers={"Edgememory-At-Least": version}).headers["Edgememory-Source"]
        for version in ("7", "8")
    ]
    assert sources == ["kv", "object"]


def test_kv_answers_where_the_object_fails(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    put_into_kv(worker, client, key, "text", "7.0.0")
    worker.break_down(objectFails=True)
    for version in ("0", "8"):
        answer = client.get(path(key), headers={"Edgememory-At-Least": version})
        assert answer_and_source(answer) == ("text", "kv")
    assert code(client.get(path(new_key()))) == (503, "object_unavailable"), "nobody knows that it is absent"


def test_what_only_the_object_can_do_is_unavailable_with_it(
    worker: WorkerServer, client: httpx.Client, key: str
) -> None:
    worker.break_down(objectFails=True)
    answers = [
        client.get(path(key), params={"pending": 1}),
        put(client, key, "text", "1.0.0"),
        append(client, key, "1"),
    ]
    assert [code(answer) for answer in answers] == [(503, "object_unavailable")] * 3
    assert "is down" not in answers[0].text, "what failed is the log's"


def test_the_object_answers_where_kv_is_down(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    worker.break_down(kvFails=True)
    assert put(client, key, "text", "1.0.0").status_code == 204
    assert answer_and_source(client.get(path(key))) == ("text", "object")
    assert code(client.get(path(new_key()))) == (404, "not_found")
    assert code(client.post("/v1/entries/get", json={"keys": [key]})) == (503, "kv_unavailable")


def test_a_worker_that_fails_shows_no_details(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    worker.break_down(workerFails=True)
    answer = client.get(path(key))
    assert code(answer) == (500, "internal")
    assert "TypeError" not in answer.text


def test_kv_catches_up_once_it_is_back(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    worker.break_down(kvFails=True)
    put(client, key, "text", "1.0.0")
    eventually(lambda: len(worker.kv_writes(key)) == 1)
    worker.break_down()
    worker.ring(key)
    eventually(lambda: worker.in_kv(key) == "text")


def test_a_tombstone_that_kv_does_not_take_is_not_acknowledged(
    worker: WorkerServer, client: httpx.Client, key: str
) -> None:
    put_into_kv(worker, client, key, "secret", "1.0.0")
    worker.break_down(kvFails=True)
    assert code(put(client, key, "tombstone", "2.0.0", tombstone=True)) == (503, "kv_unavailable")
    assert client.get(path(key)).text == "tombstone"
    worker.break_down()
    assert put(client, key, "tombstone", "2.0.0", tombstone=True).status_code == 204
    assert worker.in_kv(key) == "tombstone"


def test_a_slow_write_to_kv_does_not_undo_a_tombstone(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    worker.break_down(kvDelay=1500)
    put(client, key, "secret", "1.0.0")
    eventually(lambda: len(worker.kv_writes(key)) == 1)
    worker.break_down()
    assert put(client, key, "tombstone", "2.0.0", tombstone=True).status_code == 204
    eventually(lambda: all(write["isOver"] for write in worker.kv_writes(key)))
    assert worker.in_kv(key) == "tombstone"


@pytest.mark.timeout(30)  # not only once the call is over, and KV is told of what came last
def test_an_entry_is_forgotten_when_its_time_is_over(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    put_into_kv(worker, client, key, "text", "5.0.0")
    assert put(client, key, "brief", "6.0.0", keep=0.3).status_code == 204
    shown: list[str] = []
    while (answer := client.get(path(key))).status_code == 200:
        shown.append(answer.text)
    assert set(shown) == {"brief"}, "KV does not show the one before"
    assert code(answer) == (404, "not_found")
    assert client.get(path(key), params={"pending": 1}).json()["entry"] is None
    assert put(client, key, "older, and alone", "1.0.0").status_code == 204


@pytest.mark.parametrize(
    ("keep", "ttl"), [(90 * 86_400, 90 * 86_400), (10, 60), (10**15, 2**31 - 1)], ids=["90 days", "10 s", "ever"]
)
def test_kv_keeps_an_entry_as_long_as_asked(
    worker: WorkerServer, client: httpx.Client, key: str, keep: int, ttl: float
) -> None:
    assert put(client, key, "text", "1.0.0", keep=keep).status_code == 204
    eventually(lambda: worker.in_kv(key) == "text")
    assert worker.kv_writes(key)[0]["ttl"] == pytest.approx(ttl, abs=5)


def test_kv_ends_at_the_newest_though_all_was_killed_before_it_was_written(own_worker: WorkerServer) -> None:
    key = new_key()
    with caller(own_worker) as client:
        own_worker.break_down(kvDelay=60_000)
        put(client, key, "first", "1.0.0")
        eventually(lambda: len(own_worker.kv_writes(key)) == 1)
    own_worker.restart()
    eventually(lambda: own_worker.in_kv(key) == "first")
    with caller(own_worker) as client:
        put(client, key, "last", "2.0.0")
    own_worker.restart()
    own_worker.ring(key)
    assert own_worker.in_kv(key) == "last"


def test_what_was_appended_survives_a_kill(own_worker: WorkerServer) -> None:
    with caller(own_worker) as client:
        assert append(client, "k", "1", "2").status_code == 200
    own_worker.restart()
    with caller(own_worker) as client:
        assert client.get("/v1/entries/k?pending=1").json()["changes"] == [
            {"id": "1", "body": "said"},
            {"id": "2", "body": "said"},
        ]


def test_an_index_that_lost_everything_is_told_again(own_worker: WorkerServer) -> None:
    with caller(own_worker) as client:
        append(client, "k", "1")
        own_worker.wipe_index()
        assert client.post("/v1/outbox/claim", json={"lease": 30, "limit": 10, "now": 200}).json() == {"claims": []}
        own_worker.restart()  # a new instance registers at its first alarm, and this one does after a minute
        own_worker.ring("k")
        [claim] = client_claims(own_worker)
        assert claim["key"] == "k"


def test_an_append_does_not_need_the_index(own_worker: WorkerServer) -> None:
    own_worker.break_down(indexFails=True)
    with caller(own_worker) as client:
        assert append(client, "k", "1").status_code == 200
    assert client_claims(own_worker) == []
    own_worker.break_down()
    own_worker.restart()
    own_worker.ring("k")
    assert len(client_claims(own_worker)) == 1


def client_claims(worker: WorkerServer) -> list[dict[str, object]]:
    with caller(worker) as client:
        answer = client.post("/v1/outbox/claim", json={"lease": 30, "limit": 10, "now": time.time()})
    return list(answer.json()["claims"])
