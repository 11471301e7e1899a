"""What a Worker, and what stands before it, may do to its clients: on asyncio and on trio."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from threading import Event

import pytest

from edgememory.errors import (
    CorruptEntryError,
    StoreBlockedError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
)
from edgememory.keys import entry_key
from edgememory.models import Claim, UserKey
from edgememory.outbox.workers import WorkersOutbox
from edgememory.stores import http
from edgememory.stores.workers_kv import WorkersKVStore
from edgememory.testing.examples import entry_at
from edgememory.testing.outbox_contract import said
from tests.loopback import LoopbackServer, serving
from tests.worker.server import READ_TOKEN, WorkerServer
from tests.worker.server import TOKEN as WORKER_TOKEN

ANN = UserKey("faults", "ann")
TOKEN = "very-secret"

Respond = Callable[[BaseHTTPRequestHandler], None]


class FaultyServer(LoopbackServer):
    """Answers each request as *respond* says."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.respond: Respond = answering(404, b'{"error":{"code":"not_found","message":"no entry"}}')
        self.asked = 0


class _Handler(BaseHTTPRequestHandler):
    server: FaultyServer
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked += 1
        self.server.respond(self)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that the base class looks for

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def answering(status: int, body: bytes, *, says: int | None = None, **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body) if says is None else says), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = says is not None

    return respond


def refusing(status: int, code: str, **headers: str) -> Respond:
    return answering(status, json.dumps({"error": {"code": code, "message": "what to do"}}).encode(), **headers)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as server:
        yield server


@pytest.fixture
async def store(server: FaultyServer, anyio_backend: str) -> AsyncIterator[WorkersKVStore]:
    store = WorkersKVStore(server.url, TOKEN, key_secret=None)
    yield store
    await store.aclose()


@pytest.fixture
async def outbox(server: FaultyServer, anyio_backend: str) -> AsyncIterator[WorkersOutbox]:
    outbox = WorkersOutbox(server.url, TOKEN, key_secret=None)
    yield outbox
    await outbox.aclose()


pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]

FAILURES: list[tuple[Respond, type[StoreError], str]] = [
    (refusing(401, "unauthorized"), StoreBlockedError, "unauthorized: what to do"),
    (refusing(403, "forbidden"), StoreBlockedError, "forbidden"),
    (answering(404, b"<html>no such site</html>"), StoreBlockedError, "HTTP 404"),
    (answering(302, b"", Location="https://login.example"), StoreBlockedError, "not edgememory's Worker"),
    (refusing(405, "method_not_allowed"), StoreBlockedError, "method_not_allowed"),
    (refusing(409, "something_else"), StoreRejectedError, "something_else"),
    (refusing(413, "too_large"), StoreRejectedError, "too_large"),
    (refusing(400, "bad_request"), StoreRejectedError, "bad_request"),
    (refusing(429, "too_many_requests", Retry_After="7"), StoreUnavailableError, "after 7 s"),
    (answering(429, b"error code: 1027", Retry_After="3600"), StoreUnavailableError, "after 3600 s"),
    (refusing(500, "internal"), StoreUnavailableError, "internal"),
    (answering(522, b"<html>"), StoreUnavailableError, "HTTP 522"),
    (refusing(503, "object_unavailable"), StoreUnavailableError, "object_unavailable"),
]


@pytest.mark.parametrize(("respond", "expected", "told"), FAILURES)
async def test_each_refusal_is_ours_and_never_shows_the_token(
    server: FaultyServer,
    store: WorkersKVStore,
    outbox: WorkersOutbox,
    respond: Respond,
    expected: type[StoreError],
    told: str,
) -> None:
    server.respond = respond
    claim = Claim(ANN, (), "token")
    calls = [
        lambda: store.get(ANN),
        lambda: store.put(ANN, entry_at(1), keep=60),
        lambda: store.get_many([ANN]),
        store.warm,
        lambda: outbox.append(ANN, [said()]),
        lambda: outbox.pending(ANN),
        lambda: outbox.claim(lease=30, limit=5),
        lambda: outbox.ack(claim, ["id"], 1),
        lambda: outbox.reject(claim, ["id"], "no"),
        outbox.depth,
        lambda: outbox.dead_letters(limit=5),
    ]
    for call in calls:
        with pytest.raises(expected) as caught:
            await call()
        assert told in str(caught.value)
        assert TOKEN not in str(caught.value)
    assert server.asked == len(calls), "none is asked again"


@pytest.mark.parametrize(
    "body", [b"", b"<html>hello</html>", b"[]", b"\xff", b'{"entries"', b'{"floor":"x"}'], ids=repr
)
async def test_what_is_no_answer_of_the_worker_is_said(
    server: FaultyServer, store: WorkersKVStore, outbox: WorkersOutbox, body: bytes
) -> None:
    server.respond = answering(200, body)
    for call in (
        lambda: store.get_many([ANN]),
        store.warm,
        lambda: outbox.append(ANN, [said()]),
        lambda: outbox.pending(ANN),
        lambda: outbox.claim(lease=30, limit=5),
        outbox.depth,
    ):
        with pytest.raises(StoreUnavailableError, match="not edgememory's Worker"):
            await call()
    with pytest.raises(CorruptEntryError):
        await store.get(ANN)


async def test_another_protocol_is_refused(server: FaultyServer, store: WorkersKVStore) -> None:
    server.respond = answering(200, b'{"protocol":2,"location":null}')
    with pytest.raises(StoreBlockedError, match="protocol 2"):
        await store.warm()


async def test_entries_that_nobody_asked_for_are_left_out(server: FaultyServer, store: WorkersKVStore) -> None:
    other = entry_key(UserKey("faults", "bob"))
    server.respond = answering(200, json.dumps({"entries": {other: "{}", entry_key(ANN): "no entry"}}).encode())
    assert await store.get_many([ANN]) == {}


async def test_an_answer_that_is_cut_in_the_middle_is_asked_for_once_more(
    server: FaultyServer, store: WorkersKVStore
) -> None:
    whole = server.respond

    def once(handler: BaseHTTPRequestHandler) -> None:
        server.respond = whole
        answering(200, b'{"for', says=100)(handler)

    server.respond = once
    assert await store.get(ANN) is None
    server.respond = answering(200, b'{"for', says=100)
    with pytest.raises(StoreUnavailableError):
        await store.get(ANN)
    assert server.asked == 4


async def test_a_kept_connection_that_the_server_has_closed_costs_nobody_an_error(
    server: FaultyServer, store: WorkersKVStore
) -> None:
    absent = server.respond

    def last(handler: BaseHTTPRequestHandler) -> None:
        absent(handler)
        handler.close_connection = True

    server.respond = last
    for _ in range(5):
        assert await store.get(ANN) is None


async def test_an_answer_that_drips_is_given_up(
    server: FaultyServer, store: WorkersKVStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_GUARD", 0.3)
    given_up = Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        with suppress(OSError):  # the client has left
            while not given_up.wait(0.01):
                handler.wfile.write(b" ")

    server.respond = drip
    with pytest.raises(StoreUnavailableError):
        await store.get(ANN)
    given_up.set()


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "http://127.0.0.1:1"])
async def test_who_cannot_be_reached_is_unavailable(url: str) -> None:
    outbox = WorkersOutbox(url, TOKEN, key_secret=None)
    with pytest.raises(StoreUnavailableError):
        await outbox.pending(ANN)
    await outbox.aclose()


async def test_where_the_object_is_silent_or_down_kv_answers(worker: WorkerServer, anyio_backend: str) -> None:
    store = WorkersKVStore(worker.url, WORKER_TOKEN, key_secret=None)
    user = UserKey("faults", f"object-{anyio_backend}")
    await store.put(user, entry_at(5), keep=3600)
    worker.ring(entry_key(user))
    worker.break_down(objectFails=1)
    assert await store.get(user) == entry_at(5)
    with pytest.raises(StoreUnavailableError, match="object_unavailable"):
        await store.put(user, entry_at(6), keep=3600)
    worker.break_down(objectDelay=2000)
    assert await store.get(user, at_least=5) == entry_at(5)
    worker.break_down(kvFails=1)
    assert await store.put(user, entry_at(7), keep=3600)
    assert await store.get(user) == entry_at(7)
    with pytest.raises(StoreUnavailableError, match="kv_unavailable"):
        await store.get_many([user])
    await store.aclose()


async def test_what_is_asked_for_by_its_version_is_waited_for(worker: WorkerServer, anyio_backend: str) -> None:
    store = WorkersKVStore(worker.url, WORKER_TOKEN, key_secret=None)
    user = UserKey("faults", f"version-{anyio_backend}")
    await store.put(user, entry_at(5), keep=3600)
    worker.ring(entry_key(user))
    worker.break_down(kvWriteFails=1)
    await store.put(user, entry_at(6), keep=3600)
    worker.break_down(kvWriteFails=1, objectDelay=500)
    assert await store.get(user) == entry_at(5), "KV's, in the place of a silent object"
    assert await store.get(user, at_least=6) == entry_at(6), "the object's, which is slow"
    await store.aclose()


async def test_a_token_that_only_reads_writes_nothing(worker: WorkerServer, anyio_backend: str) -> None:
    store = WorkersKVStore(worker.url, READ_TOKEN, key_secret=None)
    outbox = WorkersOutbox(worker.url, READ_TOKEN, key_secret=None)
    assert (await outbox.pending(ANN)).changes == ()
    for call in (lambda: store.put(ANN, entry_at(6), keep=60), lambda: outbox.append(ANN, [said()])):
        with pytest.raises(StoreBlockedError, match="read token"):
            await call()
    await store.aclose()
    await outbox.aclose()
