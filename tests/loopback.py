"""HTTP servers on loopback, in a thread: they serve tests on asyncio and on trio."""

from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TypeVar


class LoopbackServer(ThreadingHTTPServer):
    """Keeps connections open, and does not wait for clients who do."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class PostHandler(BaseHTTPRequestHandler):
    """Hands the body of each request to `post`, and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def post(self, body: bytes) -> None:
        raise NotImplementedError

    def do_POST(self) -> None:
        self.post(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


_S = TypeVar("_S", bound=LoopbackServer)


@contextmanager
def serving(server: _S) -> Generator[_S]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
