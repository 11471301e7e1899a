"""What a REST API may do to its clients, and what the store makes of it: on asyncio and on trio."""

import json
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from threading import Event

import anyio
import httpx
import pytest

from edgememory import ConfigError
from edgememory.errors import (
    CorruptEntryError,
    StoreBlockedError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
)
from edgememory.models import UserKey
from edgememory.stores import http
from edgememory.stores.newer_wins import to_value
from edgememory.stores.upstash import UpstashStore
from edgememory.testing.examples import entry_at
from tests.loopback import LoopbackServer, PostHandler, serving

ANN, BOB = UserKey("faults", "ann"), UserKey("faults", "bob")
TOKEN = "very-secret"
KEEP = 3600.0

Respond = Callable[[BaseHTTPRequestHandler], None]


class FaultyServer(LoopbackServer):
    """Answers each request as *respond* says."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.respond: Respond = answering(200, {"result": None})
        self.requests: list[tuple[list[str], dict[str, str]]] = []
        """Commands and headers."""


class _Handler(PostHandler):
    server: FaultyServer

    def post(self, body: bytes) -> None:
        self.server.requests.append((json.loads(body), {name.lower(): value for name, value in self.headers.items()}))
        self.server.respond(self)


def answering(status: int, document: object, **headers: str) -> Respond:
    return _raw(status, json.dumps(document).encode(), **headers)


def _raw(status: int, body: bytes, *, says: int | None = None, **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body) if says is None else says), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = says is not None

    return respond


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as server:
        yield server


@pytest.fixture
async def store(server: FaultyServer, anyio_backend: str) -> AsyncIterator[UpstashStore]:
    store = UpstashStore(server.url, TOKEN, key_secret=None)
    yield store
    await store.aclose()


pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (401, "WRONGPASS invalid or missing auth token", StoreBlockedError),
        (403, None, StoreBlockedError),
        (404, None, StoreBlockedError),
        (413, "ERR max request size exceeded. Limit: 10485760 bytes", StoreBlockedError),
        (413, None, StoreRejectedError),
        (429, "too many requests", StoreUnavailableError),
        (500, None, StoreUnavailableError),
        (503, "the database is restarting", StoreUnavailableError),
        (400, "ERR max daily request limit exceeded", StoreBlockedError),
        (400, "OOM command not allowed when used memory > 'maxmemory'.", StoreBlockedError),
        (400, "NOPERM this user has no permissions to run the 'evalsha' command", StoreBlockedError),
        (400, "WRONGTYPE Operation against a key holding the wrong kind of value", StoreRejectedError),
        (200, "WRONGTYPE Operation against a key holding the wrong kind of value", StoreRejectedError),
    ],
)
async def test_each_error_is_ours_and_never_shows_the_token(
    server: FaultyServer, store: UpstashStore, status: int, error: str | None, expected: type[StoreError]
) -> None:
    body = b"<html>no</html>" if error is None else json.dumps({"error": error}).encode()
    server.respond = _raw(status, body, Retry_After="1")
    for call in (lambda: store.get(ANN), lambda: store.put(ANN, entry_at(1), keep=KEEP), lambda: store.get_many([ANN])):
        with pytest.raises(expected) as caught:
            await call()
        assert (error or f"HTTP {status}") in str(caught.value)
        assert TOKEN not in str(caught.value)
    assert len(server.requests) == 3, "none is asked again"


@pytest.mark.parametrize("body", [b"", b"<html>hello</html>", b"[]", b"\xff", b'{"result"'], ids=repr)
async def test_what_is_no_upstash_is_said(server: FaultyServer, store: UpstashStore, body: bytes) -> None:
    server.respond = _raw(200, body)
    with pytest.raises(StoreUnavailableError, match="REST API"):
        await store.get(ANN)


@pytest.mark.parametrize("result", [None, "x", 5, [], [None, None], {"0": None}], ids=repr)
async def test_many_answers_are_as_many_as_the_questions(
    server: FaultyServer, store: UpstashStore, result: object
) -> None:
    server.respond = answering(200, {"result": result})
    with pytest.raises(StoreUnavailableError, match="REST API"):
        await store.get_many([ANN])


@pytest.mark.parametrize("value", ["", "AAAA", "no base64!", b64encode(b"{}").decode(), 5, ["x"], {"x": 1}], ids=repr)
async def test_a_value_that_is_no_entry_is_corrupt(server: FaultyServer, store: UpstashStore, value: object) -> None:
    server.respond = answering(200, {"result": value})
    with pytest.raises(CorruptEntryError):
        await store.get(ANN)
    server.respond = answering(200, {"result": [value, b64encode(to_value(entry_at(1))).decode()]})
    assert await store.get_many([ANN, BOB]) == {BOB: entry_at(1)}


async def test_an_answer_that_is_cut_in_the_middle_is_asked_for_once_more(
    server: FaultyServer, store: UpstashStore
) -> None:
    whole = answering(200, {"result": b64encode(to_value(entry_at(1))).decode()})

    def once(handler: BaseHTTPRequestHandler) -> None:
        server.respond = whole
        _raw(200, b'{"res', says=100)(handler)

    server.respond = once
    assert await store.get(ANN) == entry_at(1)
    server.respond = _raw(200, b'{"res', says=100)
    with pytest.raises(StoreUnavailableError):
        await store.get(ANN)
    assert len(server.requests) == 4


async def test_a_kept_connection_that_the_server_has_closed_costs_nobody_an_error(
    server: FaultyServer, store: UpstashStore
) -> None:
    def last(handler: BaseHTTPRequestHandler) -> None:
        answering(200, {"result": None})(handler)
        handler.close_connection = True

    server.respond = last
    for _ in range(5):
        assert await store.get(ANN) is None


async def test_an_answer_that_drips_is_given_up(
    server: FaultyServer, store: UpstashStore, monkeypatch: pytest.MonkeyPatch
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


async def test_more_than_any_entry_is_not_read(
    server: FaultyServer, store: UpstashStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_LONGEST_ANSWER", 1000)
    server.respond = _raw(200, b" " * 2000)
    with pytest.raises(StoreUnavailableError, match="more than 1000 bytes"):
        await store.get(ANN)


@pytest.mark.parametrize("url", ["http://no-such-host.invalid", "http://127.0.0.1:1"])
async def test_who_cannot_be_reached_is_unavailable(url: str) -> None:
    store = UpstashStore(url, TOKEN, key_secret=None)
    with pytest.raises(StoreUnavailableError):
        await store.warm()
    await store.aclose()


async def test_each_user_is_read_as_of_what_was_last_seen_of_them(server: FaultyServer, store: UpstashStore) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        command, _ = server.requests[-1]
        key = command[1] if command[0] == "GET" else command[3]
        answering(200, {"result": None}, upstash_sync_token=f"{key}@{len(server.requests)}")(handler)

    server.respond = respond
    for user in (ANN, BOB, ANN):
        await store.get(user)
    await store.put(BOB, entry_at(1), keep=KEEP)
    await store.get(BOB)
    sent = [headers.get("upstash-sync-token") for _, headers in server.requests]
    assert sent == [None, None, "em:1:faults:ann@1", "em:1:faults:bob@2", "em:1:faults:bob@4"]


async def test_a_read_that_began_before_a_write_does_not_take_its_token_back(
    server: FaultyServer, store: UpstashStore
) -> None:
    waits, written = socket.socketpair()

    def respond(handler: BaseHTTPRequestHandler) -> None:
        command, _ = server.requests[-1]
        if command[0] == "GET" and len(server.requests) == 1:
            waits.recv(1)
        token = "old" if command[0] == "GET" else "new"
        answering(200, {"result": None}, upstash_sync_token=token)(handler)

    server.respond = respond
    async with anyio.create_task_group() as group:
        group.start_soon(store.get, ANN)
        while not server.requests:  # noqa: ASYNC110 - another thread's
            await anyio.sleep(0.001)
        await store.put(ANN, entry_at(1), keep=KEEP)
        written.send(b"x")
    await store.get(ANN)
    assert server.requests[-1][1]["upstash-sync-token"] == "new"
    waits.close()
    written.close()


async def test_a_given_client_is_used_and_never_closed(server: FaultyServer) -> None:
    async with httpx.AsyncClient(headers={"X-Ours": "yes"}) as client:
        store = UpstashStore(server.url, TOKEN, key_secret=None, client=client)
        await store.get(ANN)
        await store.aclose()
        assert not client.is_closed
    assert server.requests[0][1]["x-ours"] == "yes"


@pytest.mark.parametrize("url", ["", "eu1-x.upstash.io", "redis://eu1-x.upstash.io", "https://", "https://:443"])
async def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        UpstashStore(url, TOKEN, key_secret=None)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "tökén"])
async def test_what_is_no_token_is_told_without_showing_it(token: str) -> None:
    with pytest.raises(ConfigError, match="token") as caught:
        UpstashStore("https://eu1-x.upstash.io", token, key_secret=None)
    assert not token or token not in str(caught.value)
