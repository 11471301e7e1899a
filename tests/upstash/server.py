"""Upstash's REST API over a real Redis, on loopback. What it answers is checked by Upstash's own JavaScript client."""

import json
import socket
from base64 import b64encode
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from typing import BinaryIO

from tests.loopback import LoopbackServer, PostHandler, serving

TOKEN = "upstash-token"


class RedisError(Exception):
    """An error as Redis words it, its code in front."""


class UpstashServer(LoopbackServer):
    """One command a request, pipelines and transactions, for the bearer of `TOKEN`."""

    def __init__(self, redis_port: int) -> None:
        super().__init__(_Handler)
        self.redis_port = redis_port


def upstash_server(redis_port: int) -> AbstractContextManager[UpstashServer]:
    return serving(UpstashServer(redis_port))


class _Handler(PostHandler):
    server: UpstashServer

    def post(self, body: bytes) -> None:
        if self.headers["Authorization"] == f"Bearer {TOKEN}":
            self._serve(json.loads(body))
        else:
            self._answer(401, {"error": "WRONGPASS invalid or missing auth token"})

    def _serve(self, commands: Sequence[object]) -> None:
        with closing(socket.create_connection(("127.0.0.1", self.server.redis_port))) as connection:
            redis = connection.makefile("rb")
            match self.path.rstrip("/"):
                case "":
                    answer = self._run(connection, redis, commands)
                    self._answer(400 if "error" in answer else 200, answer)
                case "/pipeline":
                    self._answer(200, [self._run(connection, redis, command) for command in commands])
                case "/multi-exec":
                    self._answer(200, self._all_or_none(connection, redis, commands))
                case _:
                    self._answer(404, {"error": "ERR not found"})

    def _all_or_none(
        self, connection: socket.socket, redis: BinaryIO, commands: Sequence[Sequence[object]]
    ) -> Sequence[object]:
        for command in (["MULTI"], *commands, ["EXEC"]):
            answer = self._run(connection, redis, command)
        results = answer["result"]
        assert isinstance(results, list)
        return [{"error": str(each)} if isinstance(each, RedisError) else {"result": each} for each in results]

    def _run(self, connection: socket.socket, redis: BinaryIO, command: Sequence[object]) -> dict[str, object]:
        words = [(word if isinstance(word, str) else json.dumps(word)).encode() for word in command]
        connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        try:
            return {"result": self._shown(_reply(redis))}
        except RedisError as error:
            return {"error": str(error)}

    def _shown(self, reply: object) -> object:
        if isinstance(reply, list):
            return [self._shown(each) for each in reply]
        if not isinstance(reply, bytes):
            return reply
        if reply == b"OK" or self.headers["Upstash-Encoding"] != "base64":
            return reply.decode(errors="replace")
        return b64encode(reply).decode()

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _reply(redis: BinaryIO) -> object:
    line = redis.readline().rstrip(b"\r\n")
    kind, rest = line[:1], line[1:]
    match kind:
        case b"+":
            return rest
        case b"-":
            raise RedisError(rest.decode())
        case b":":
            return int(rest)
        case b"$":
            return None if rest == b"-1" else redis.read(int(rest) + 2)[:-2]
        case b"*":
            return None if rest == b"-1" else [_element(redis) for _ in range(int(rest))]
        case _:
            raise AssertionError(f"Redis says {line!r}")


def _element(redis: BinaryIO) -> object:
    try:
        return _reply(redis)
    except RedisError as error:
        return error
