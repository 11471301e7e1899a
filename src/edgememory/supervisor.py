"""The supervisor of an `edgememory.shared_server.SharedServer`: starts it, and stops it when nobody uses it.

Run by path in the server's folder, without site-packages: it imports the standard library only. Its argument
is a JSON object with the parameters of `_supervise`; *running* is the open file whose lock says that the
server runs.
"""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress


def _die_with_parent(parent: int, how: int) -> Callable[[], None]:
    """For the child between fork and exec: the kernel sends it *how* when its parent dies."""
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(1, how)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def _stop(pid: int, how: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)
        os.kill(pid, signal.SIGCONT)  # one that was suspended would never see the other signal


def _stop_when_unused(pid: int, how: int, unused: threading.Event) -> None:
    # Kept until this process ends: who joins meanwhile waits, and then starts a new server.
    fcntl.flock(os.open("users", os.O_RDWR), fcntl.LOCK_EX)
    unused.set()
    for signal_number, patience in ((how, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 0)):
        _stop(pid, signal_number)
        time.sleep(patience)


def _supervise(argv: Sequence[str], *, stop: int, user: str | None, running: int, temporary: bool) -> None:
    """Run the server in the current folder until it ends or nobody uses it."""
    server = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        pass_fds=[running],
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        preexec_fn=_die_with_parent(os.getpid(), stop),  # noqa: PLW1509  (there are no threads yet)
    )
    signal.signal(signal.SIGTERM, lambda *_: os.kill(server.pid, stop))
    os.write(running, f"{server.pid}\n".encode())
    unused = threading.Event()
    threading.Thread(target=_stop_when_unused, args=(server.pid, stop, unused), daemon=True).start()
    server.wait()
    if unused.is_set() and temporary and _nobody_is_leaving():
        shutil.rmtree(os.getcwd(), ignore_errors=True)


def _nobody_is_leaving() -> bool:
    """Whether the last user ended without leaving; one that is leaving still needs the folder, and removes it."""
    try:
        fcntl.flock(os.open("door", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    _supervise(**json.loads(sys.argv[1]))
