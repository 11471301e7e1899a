"""The Worker on workerd, Cloudflare's own runtime, by way of miniflare."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx

from edgememory.lab.servers.lifetime import started, temporary_folder

TOKEN = "full-token"
_DATA = Path(__file__).parents[1] / "workerd"
_DISTANCES = _DATA / "distances.mjs"


class NoRuntimeError(RuntimeError):
    """Cloudflare's runtime cannot be had here; the message says why, and what to do."""


class WorkerServer:
    """`worker.js` with a KV and objects of its own, in a temporary folder. It never outlives this process.

    Its methods block.
    """

    def __init__(self, *, bindings: Mapping[str, str], surroundings: Path = _DISTANCES) -> None:
        """*surroundings* is the module that runs as the Worker, around `worker.js`; *bindings* are what it is given."""
        self._folder = temporary_folder()
        self._arguments = (str(surroundings), json.dumps(dict(bindings)))
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def start(self) -> None:
        """Start it, at another port each time, on what it had written.

        Raises:
            NoRuntimeError: as `installed_runtime`.
        """
        self._process = subprocess.Popen(
            [_program("node"), str(_DATA / "serve.mjs"), str(installed_runtime()), str(self._folder), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # workerd is a child of node: both are killed at once
        )
        line = "" if self._process.stdout is None else self._process.stdout.readline()
        if not line:
            raise RuntimeError("The Worker did not start: standard error says why")
        self.url = json.loads(line)["url"]

    def stop(self) -> None:
        """End it as a power cut would, all that it has not written included."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def move_elsewhere(self, keys: Sequence[str]) -> None:
        """From now on the objects of *keys* are in another part of the world, where their users have always called."""
        httpx.post(f"{self.url}/lab/elsewhere", json={"keys": keys}, timeout=30).raise_for_status()


def worker_server(*, bindings: Mapping[str, str]) -> AbstractAsyncContextManager[WorkerServer]:
    """Run a `WorkerServer` for the duration of the block."""
    return started(WorkerServer(bindings=bindings))


def installed_runtime() -> Path:
    """Return the folder of miniflare. The first time, npm installs it, pinned, into this Python environment.

    Raises:
        NoRuntimeError: there is no node or npm, or npm could not install it.
    """
    lock = _DATA / "package-lock.json"
    shelf = Path(sys.prefix) / "share" / "edgememory"
    runtime = shelf / f"workerd-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    _program("node")
    if not runtime.exists():
        try:
            shelf.mkdir(parents=True, exist_ok=True)
            _install(lock, shelf, runtime)
        except OSError as error:
            raise NoRuntimeError(f"cannot install Cloudflare's runtime into {shelf}: {error}") from error
    return runtime


def _install(lock: Path, shelf: Path, runtime: Path) -> None:
    with tempfile.TemporaryDirectory(dir=shelf) as folder:
        half = Path(folder) / "half"
        half.mkdir()
        for name in (lock.name, "package.json"):
            shutil.copy(_DATA / name, half)
        command = [_program("npm"), "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        npm = subprocess.run(command, cwd=half, capture_output=True, text=True, check=False)
        if npm.returncode:
            told = (npm.stderr or npm.stdout).strip() or f"exit code {npm.returncode}"
            raise NoRuntimeError(f"npm could not install Cloudflare's runtime: {told}")
        if not runtime.exists():  # another process may have been faster
            half.rename(runtime)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise NoRuntimeError(f"{name} not found: install Node 20 or later (Debian: apt install nodejs npm)")
    return path


if __name__ == "__main__":
    try:
        installed_runtime()
    except NoRuntimeError as error:
        sys.exit(str(error))
