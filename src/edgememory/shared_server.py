"""A server process that lives exactly as long as somebody uses it.

Each user holds a shared lock on one file. The kernel drops it however the user ends, by ``kill -9`` too, so
nothing counts process ids that may be stale or reused. A supervisor process waits for the exclusive lock,
gets it when the last user is gone, and stops the server. The server dies with its supervisor (on Linux) and
inherits the lock that says "running", which is therefore free only when the last of the server's processes is
gone.
"""

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

START_TIMEOUT = 60.0
ATTEMPTS = 3  # a free port may be taken before the server binds it
LOG_LIMIT = 1 << 20

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class FileLock:
    """A lock (`fcntl.flock`) on a file, held until `release`, or until this process ends."""

    # A forked child shares the locks, and would keep a server alive that it does not use.
    held: ClassVar[set["FileLock"]] = set()

    def __init__(self, path: Path, how: int) -> None:
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.held.add(self)
        try:
            fcntl.flock(self.file, how)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go. In a forked child, or a second time, this does nothing."""
        if self in self.held:
            self.held.discard(self)
            os.close(self.file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


def _drop_inherited_locks() -> None:
    for lock in tuple(FileLock.held):
        lock.release()


os.register_at_fork(after_in_child=_drop_inherited_locks)


class Command(NamedTuple):
    """How to run the server in the foreground, and what makes it stop."""

    argv: Sequence[str]
    stop: signal.Signals
    user: str | None = None


class SharedServer:
    """One server in one folder, shared by all processes that `join` it.

    All methods block; call them in a worker thread from a coroutine. A forked child has not joined.
    A *temporary* folder is removed with the server.
    """

    def __init__(
        self,
        folder: Path,
        *,
        command: Callable[[int], Command],
        is_ready: Callable[[int, int], bool],
        temporary: bool = False,
    ) -> None:
        """*command* prepares a server for a port; *is_ready* is asked with the port and the process id."""
        self.folder = folder.absolute()
        self.port = 0
        self.pid = 0
        self._command = command
        self._is_ready = is_ready
        self._temporary = temporary
        self._use: FileLock | None = None
        self._guard = threading.Lock()

    def join(self) -> None:
        """Start the server unless it runs; it then runs until this process leaves or ends."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with self._guard, FileLock(self.folder / "door", fcntl.LOCK_EX):
                # A server that is being stopped holds this lock until it is gone.
                self._use = FileLock(self.folder / "users", fcntl.LOCK_SH)
                self._run(port=None)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Stop using the server; the last one to leave waits until it has stopped."""
        with self._guard:
            if self._use not in FileLock.held:
                return
            with FileLock(self.folder / "door", fcntl.LOCK_EX):
                self._let_go()
                unused = self._is_unused()
                if unused:
                    self._wait_until_gone()
            if unused and self._temporary:
                shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self, how: signal.Signals) -> None:
        """Stop the server under its users, as a fault would; `restart` brings it back."""
        if self._is_running():  # else the process id may be another's by now
            _stop(self.pid, how)
            self._wait_until_gone()

    def restart(self) -> None:
        """Start the server again on its old port, after `stop` or a crash."""
        with self._guard, FileLock(self.folder / "door", fcntl.LOCK_EX):
            self._wait_until_gone()
            self._run(port=self.port)

    def _run(self, port: int | None) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        for _ in range(ATTEMPTS):
            self._start_unless_running(port)
            if self._becomes_ready(deadline):
                return
        raise RuntimeError(f"The server in {self.folder} did not start. Its log ends:\n{self._log_end()}")

    def _start_unless_running(self, port: int | None) -> None:
        try:
            running = FileLock(self.folder / "server", fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        with running:
            os.ftruncate(running.file, 0)
            port = port or free_port()
            command = self._command(port)
            os.write(running.file, f"{port}\n".encode())
            self._spawn(command, running.file)

    def _spawn(self, command: Command, running: int) -> None:
        order = {
            "argv": [str(argument) for argument in command.argv],
            "stop": int(command.stop),
            "user": command.user,
            "running": running,
            "temporary": self._temporary,
        }
        with self._log() as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-I", "-S", _SUPERVISOR, json.dumps(order)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[running],
                start_new_session=True,  # Ctrl-C at the terminal is for the users, not for their server
            )
        # It may outlive this object, and must not become a zombie when it ends before this process does.
        threading.Thread(target=supervisor.wait, daemon=True).start()

    def _becomes_ready(self, deadline: float) -> bool:
        while self._is_running():
            announced = (self.folder / "server").read_text().split()
            if len(announced) == 2:
                self.port, self.pid = int(announced[0]), int(announced[1])
                if self._is_ready(self.port, self.pid):
                    return True
            if time.monotonic() > deadline:
                raise TimeoutError(f"The server in {self.folder} does not answer. Its log ends:\n{self._log_end()}")
            time.sleep(0.01)
        return False

    def _is_running(self) -> bool:
        return not _is_free(self.folder / "server", fcntl.LOCK_SH)

    def _is_unused(self) -> bool:
        """Whether nobody uses it: the exclusive lock can be had, or the supervisor has it already."""
        return _is_free(self.folder / "users", fcntl.LOCK_EX) or not _is_free(self.folder / "users", fcntl.LOCK_SH)

    def _wait_until_gone(self) -> None:
        with FileLock(self.folder / "server", fcntl.LOCK_SH):
            pass

    def _let_go(self) -> None:
        if self._use is not None:
            self._use.release()
            self._use = None

    @contextmanager
    def _log(self) -> Generator[int]:
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(log).st_size > LOG_LIMIT:
                os.ftruncate(log, 0)
            yield log
        finally:
            os.close(log)

    def _log_end(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    Not one the kernel hands to outgoing connections: a client that retries while the server is down could be
    given the very port it connects to, and then talks to itself.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def _is_free(path: Path, how: int) -> bool:
    try:
        with FileLock(path, how | fcntl.LOCK_NB):
            return True
    except BlockingIOError:
        return False


def _stop(pid: int, how: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)
        os.kill(pid, signal.SIGCONT)  # one that was suspended would never see the other signal
