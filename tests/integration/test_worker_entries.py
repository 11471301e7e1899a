"""The Worker's entries: newest wins, in the object and behind it in KV."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpx
import pytest

from tests.worker.client import caller, code, eventually, new_key, order_headers, path, put
from tests.worker.server import NEXT_TOKEN, READ_TOKEN, WorkerServer

BAD_REQUEST = (400, "bad_request")


@pytest.fixture
def client(worker: WorkerServer) -> Iterator[httpx.Client]:
    with caller(worker) as client:
        yield client


@pytest.fixture
def key() -> str:
    return new_key()


def are_apart(writes: list[dict[str, object]]) -> bool:
    """Say whether no two were made within a second: KV takes no more."""
    return all(later - earlier >= 1000 for earlier, later in pairwise(float(str(write["at"])) for write in writes))


def test_health_needs_no_token_and_says_where_it_answered(worker: WorkerServer) -> None:
    answer = httpx.get(f"{worker.url}/v1/health")
    assert answer.json() == {"protocol": 1, "location": "DFW"}


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "full-token"}])
@pytest.mark.parametrize("known", ["/v1/entries/k", "/v1/outbox/depth?now=1", "/nowhere"])
def test_nobody_comes_in_without_a_token(worker: WorkerServer, header: dict[str, str], known: str) -> None:
    assert code(httpx.get(worker.url + known, headers=header)) == (401, "unauthorized")


def test_two_tokens_are_good_while_one_is_rotated(worker: WorkerServer, key: str) -> None:
    with caller(worker, NEXT_TOKEN) as client:
        assert put(client, key, "text", "1.0.0").status_code == 204


def test_a_read_token_reads_and_writes_nothing(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    put(client, key, "text", "1.0.0")
    with caller(worker, READ_TOKEN) as reader:
        assert reader.get(path(key)).text == "text"
        assert reader.get(path(key), params={"pending": 1}).json()["entry"] == "text"
        assert reader.post("/v1/entries/get", json={"keys": [key]}).status_code == 200
        assert code(put(reader, key, "text", "2.0.0")) == (403, "forbidden")
        for forbidden in ("claim", key, f"{key}/ack", f"{key}/reject"):
            assert code(reader.post(f"/v1/outbox/{forbidden}", json={})) == (403, "forbidden")
        assert code(reader.get("/v1/outbox/depth?now=1")) == (403, "forbidden")


@pytest.mark.parametrize(("token", "refused"), [(READ_TOKEN, (403, "forbidden")), ("wrong", (401, "unauthorized"))])
def test_who_is_refused_hears_it_however_much_they_had_to_say(
    worker: WorkerServer, key: str, token: str, refused: tuple[int, str]
) -> None:
    with caller(worker, token) as refused_client:
        for _ in range(5):
            assert code(put(refused_client, key, "x" * 4_000_000, "1.0.0")) == refused


@pytest.mark.parametrize("unknown", ["/", "/v1", "/v2/entries/k", "/v1/entries", "/v1/entries/a/b", "/v1/outbox/k/no"])
def test_a_path_that_is_not_there(client: httpx.Client, unknown: str) -> None:
    assert code(client.get(unknown)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "known", "allow"),
    [
        ("POST", "/v1/health", "GET"),
        ("DELETE", "/v1/entries/k", "GET, PUT"),
        ("PUT", "/v1/entries/get", "POST"),
        ("GET", "/v1/outbox/claim", "POST"),
        ("POST", "/v1/outbox/depth", "GET"),
    ],
)
def test_a_method_that_is_not_there(client: httpx.Client, method: str, known: str, allow: str) -> None:
    answer = client.request(method, known)
    assert code(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allow


@pytest.mark.parametrize("bad", ["%ff", "%", "x" * 513, "%C3%A9" * 257])
def test_a_key_that_is_none(client: httpx.Client, bad: str) -> None:
    assert code(client.get(f"/v1/entries/{bad}")) == BAD_REQUEST


def test_what_was_put_is_read_with_its_order(client: httpx.Client, key: str) -> None:
    assert code(client.get(path(key))) == (404, "not_found")
    text = '\ufeff {"é": "🦜"} '
    assert put(client, key, text, "4294967297.5.7").status_code == 204
    answer = client.get(path(key))
    assert (answer.status_code, answer.content.decode()) == (200, text)
    assert answer.headers["ETag"] == '"4294967297.5.7"'
    assert answer.headers["Edgememory-Source"] == "object"


@pytest.mark.parametrize("awkward", ["em:1:a%2Fb:c", "em:1:a:%25", "é/ #?", "em:1:a:$00", "x" * 512])
def test_keys_are_matched_exactly(worker: WorkerServer, client: httpx.Client, awkward: str) -> None:
    assert put(client, awkward, awkward, "1.0.0").status_code == 204
    assert client.get(path(awkward)).text == awkward
    eventually(lambda: worker.in_kv(awkward) == awkward)


def test_an_older_entry_is_refused_and_an_equal_one_stands(client: httpx.Client, key: str) -> None:
    put(client, key, "present", "5.9.9")
    for older in ("4.10.10", "5.8.10", "5.9.8"):
        answer = put(client, key, "older", older)
        assert code(answer) == (409, "newer_stands")
        assert answer.headers["ETag"] == '"5.9.9"'
    assert put(client, key, "equal", "5.9.9").status_code == 204
    assert client.get(path(key)).text == "equal"
    for newer in ("5.9.10", "5.10.0", "6.0.0", "9007199254740992.0.0"):
        assert put(client, key, newer, newer).status_code == 204
    assert code(put(client, key, "older", "9007199254740991.0.0")) == (409, "newer_stands")


@pytest.mark.parametrize(
    "headers",
    [
        {"Edgememory-Keep": "1"},
        {"Edgememory-Order": "1.0.0"},
        *(order_headers(bad) for bad in ("1.0", "-1.0.0", "1.0.0.0", "a.b.c", "9007199254740993.0.0", f"1.0.{10**17}")),
        *({"Edgememory-Order": "1.0.0", "Edgememory-Keep": bad} for bad in ("", "-1", "inf", "1e3")),
        {**order_headers("1.0.0"), "Edgememory-Tombstone": "yes"},
    ],
)
def test_a_put_that_cannot_be_read_is_refused(client: httpx.Client, key: str, headers: dict[str, str]) -> None:
    assert code(client.put(path(key), content="text", headers=headers)) == BAD_REQUEST


def test_a_body_that_is_no_text_is_refused(client: httpx.Client, key: str) -> None:
    for bad in (b"\xff", b"\xc3"):
        assert code(client.put(path(key), content=bad, headers=order_headers("1.0.0"))) == BAD_REQUEST


def test_a_body_may_have_a_mebibyte(client: httpx.Client, key: str) -> None:
    text = "é" * (512 * 1024)
    assert put(client, key, text, "1.0.0").status_code == 204
    assert client.get(path(key)).text == text
    assert code(put(client, key, text + "x", "2.0.0")) == (413, "too_large")
    in_pieces = iter([text.encode(), b"x"])
    assert code(client.put(path(key), content=in_pieces, headers=order_headers("2.0.0"))) == (413, "too_large")


def test_many_are_read_from_kv_at_once(worker: WorkerServer, client: httpx.Client) -> None:
    keys = [new_key() for _ in range(99)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: put(client, key, key, "1.0.0"), keys))
    eventually(lambda: all(worker.in_kv(key) == key for key in keys))
    answer = client.post("/v1/entries/get", json={"keys": [*keys[1:], "absent", keys[0]]})
    assert answer.json() == {"entries": {key: key for key in keys}}
    assert client.post("/v1/entries/get", json={"keys": []}).json() == {"entries": {}}


@pytest.mark.parametrize(
    "bad", ["", "[", "null", "[]", "{}", '{"keys": "k"}', '{"keys": [1]}', '{"keys": [""]}', '{"keys": ["."]}']
)
def test_keys_that_are_none(client: httpx.Client, bad: str) -> None:
    assert code(client.post("/v1/entries/get", content=bad)) == BAD_REQUEST


def test_a_hundred_keys_at_most(client: httpx.Client) -> None:
    assert code(client.post("/v1/entries/get", json={"keys": [str(each) for each in range(101)]})) == BAD_REQUEST


def test_of_a_thousand_writers_the_newest_stands_and_kv_never_goes_back(
    worker: WorkerServer, client: httpx.Client, key: str
) -> None:
    orders = [f"{version}.0.0" for version in range(1, 1001)]
    random.Random(key).shuffle(orders)
    with ThreadPoolExecutor(32) as threads:
        statuses = set(threads.map(lambda order: put(client, key, order, order).status_code, orders))
    assert statuses == {204, 409}
    assert client.get(path(key)).text == "1000.0.0"
    worker.ring(key)
    assert worker.in_kv(key) == "1000.0.0"
    writes = worker.kv_writes(key)
    versions = [int(str(write["order"]).split(".")[0]) for write in writes]
    assert versions == sorted(versions)
    assert are_apart(writes)


def test_kv_is_written_as_a_call_begins_and_when_it_is_over(worker: WorkerServer, client: httpx.Client) -> None:
    key = new_key()
    put(client, key, "1.0.0", "1.0.0")
    eventually(lambda: worker.in_kv(key) == "1.0.0")
    for order in ("2.0.0", "3.0.0", "4.0.0"):
        put(client, key, order, order)
        worker.ring(key, after_silence=False)
    assert [write["order"] for write in worker.kv_writes(key)] == ["1.0.0"]
    worker.ring(key)
    assert [write["order"] for write in worker.kv_writes(key)] == ["1.0.0", "4.0.0"]
    worker.ring(key)
    assert len(worker.kv_writes(key)) == 2


def test_a_tombstone_is_in_kv_before_its_answer(worker: WorkerServer, client: httpx.Client, key: str) -> None:
    put(client, key, "secret", "1.0.0")
    eventually(lambda: worker.in_kv(key) == "secret")
    assert put(client, key, "tombstone", "2.0.0", tombstone=True).status_code == 204
    assert worker.in_kv(key) == "tombstone"
    for version in (3, 4):
        assert put(client, key, f"tombstone {version}", f"{version}.0.0", tombstone=True).status_code == 204
        assert worker.in_kv(key) == f"tombstone {version}"
    assert are_apart(worker.kv_writes(key))


def test_what_only_confirms_is_shown_at_once_and_written_to_kv_once_a_day(worker: WorkerServer) -> None:
    key, day = new_key(), 86_400_000_000
    with caller(worker) as client:
        for order in ("5.0.1000", f"5.0.{day}", f"5.0.{day + 999}"):
            assert put(client, key, order, order).status_code == 204
            worker.ring(key)
            assert client.get(path(key)).text == order
        assert [write["order"] for write in worker.kv_writes(key)] == ["5.0.1000"]
        for order in (f"5.0.{day + 1000}", f"5.7.{day + 1001}", f"6.0.{day + 1001}"):
            put(client, key, order, order)
            worker.ring(key)
            assert worker.in_kv(key) == order
