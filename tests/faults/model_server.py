"""A server that speaks to models as each test wants it to: what both clients of such servers are tested against."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from threading import Event

from tests.loopback import LoopbackServer, PostHandler, serving

TOKEN = "very-secret"
Respond = Callable[[BaseHTTPRequestHandler], None]


class FaultyModelServer(LoopbackServer):
    """Answers each request as *respond* says, and hangs until it is closed where that waits for `closing`."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.respond: Respond = raw(404, b"")
        self.requests: list[tuple[str, dict[str, str], dict[str, object]]] = []
        """Paths, headers and documents."""
        self.closing = Event()
        self.dripped = b""

    def answer_in_turn(self, *responds: Respond) -> None:
        left = iter(responds)

        def respond(handler: BaseHTTPRequestHandler) -> None:
            next(left)(handler)

        self.respond = respond

    def silent(self, handler: BaseHTTPRequestHandler) -> None:
        self.closing.wait()
        handler.close_connection = True

    def dripping(self, handler: BaseHTTPRequestHandler) -> None:
        """Send spaces for two seconds, and then nothing that is wrong."""
        handler.send_response(200)
        handler.send_header("Content-Length", str(200 + len(self.dripped)))
        handler.end_headers()
        try:
            for _ in range(200):
                handler.wfile.write(b" ")
                self.closing.wait(0.01)
            handler.wfile.write(self.dripped)
        except OSError:  # the client has left
            handler.close_connection = True


class _Handler(PostHandler):
    server: FaultyModelServer

    def post(self, body: bytes) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, json.loads(body)))
        self.server.respond(self)


def raw(status: int, body: bytes) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def answering(status: int, document: object) -> Respond:
    return raw(status, json.dumps(document).encode())


def refusing(status: int, message: str, **error: str | None) -> Respond:
    return answering(status, {"error": {"message": message, "type": "invalid_request_error", **error}})


@contextmanager
def faulty_model_server() -> Iterator[FaultyModelServer]:
    with serving(FaultyModelServer()) as server:
        try:
            yield server
        finally:
            server.closing.set()
