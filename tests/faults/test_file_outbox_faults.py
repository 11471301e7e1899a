"""What a disk, a crash, a cancellation and other processes can do to the file outbox."""

# ruff: noqa: ASYNC240 - a test may block its loop

import asyncio
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import anyio.to_thread
import pytest

from edgememory import sqlite_file
from edgememory.errors import OutboxFullError, StoreBlockedError, StoreUnavailableError
from edgememory.outbox import file_database, file_sql
from edgememory.outbox.file import FileOutbox
from edgememory.testing.outbox_contract import ANNA, BERT, LEASE, ids, said
from tests.faults.outbox_process import USERS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
async def outbox(path: Path) -> AsyncIterator[FileOutbox]:
    outbox = FileOutbox(path)
    yield outbox
    await outbox.aclose()


def stored(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [id for (id,) in connection.execute("SELECT id FROM changes ORDER BY id")]


def started(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.outbox_process", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def disk_full_after(size: int) -> Iterator[None]:
    """No file may grow beyond *size* bytes: the nearest to a full disk that needs no mount."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("round", range(5))
def test_what_was_acknowledged_survives_a_kill(path: Path, round: int) -> None:
    process = started("append", path)
    assert process.stdout is not None
    acknowledged: list[str] = []
    for _ in range(random.randint(1, 100)):
        acknowledged += process.stdout.readline().split()
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    # The kill may have cut the last line short.
    acknowledged += "".join(line for line in rest.splitlines(keepends=True) if line.endswith("\n")).split()
    held = stored(path)
    assert set(acknowledged) <= set(held)
    assert len(held) % 3 == 0, "an append is there as a whole, or not at all"


async def test_a_new_process_takes_over_where_a_killed_one_stopped(path: Path, outbox: FileOutbox) -> None:
    process = started("append", path)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    claims = await outbox.claim(lease=LEASE, limit=len(USERS))
    assert sorted(id for claim in claims for id in ids(claim.changes)) == stored(path)


def test_two_processes_deliver_each_change_once(path: Path) -> None:
    processes = [started("deliver", path, name) for name in ("one", "two")]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    deliveries = Counter(line.split()[2] for line in path.with_suffix(".log").read_text().splitlines())
    assert len(deliveries) == 200
    assert set(deliveries.values()) == {1}
    assert stored(path) == []


def test_many_processes_may_make_the_file_at_once(path: Path) -> None:
    processes = [started("deliver", path, str(number)) for number in range(6)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors


def test_a_file_that_another_process_switches_to_wal_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One in a hundred of eight processes that opened a new file at once met this error, in spite of a timeout of 5 s.
    class BusyOnce(sqlite3.Connection):
        busy = True

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if self.busy and "journal_mode" in sql:
                self.busy = False
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
            return super().execute(sql, *parameters)

    monkeypatch.setattr(sqlite_file.sqlite3, "connect", partial(sqlite3.connect, factory=BusyOnce))
    with closing(file_database.open_writer(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    outbox = FileOutbox(tmp_path / "a" / "b" / "outbox.db")
    await outbox.append(ANNA, [said()])
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "a" / "b").iterdir()}
    assert modes == {"outbox.db": 0o600, "outbox.db-wal": 0o600, "outbox.db-shm": 0o600}
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    await outbox.aclose()


async def test_a_new_file_is_on_the_disk_before_anything_is_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        sqlite_file.os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    )
    outbox = FileOutbox(tmp_path / "a" / "b" / "outbox.db")
    await outbox.append(ANNA, [said()])
    assert set(synced) == {str(tmp_path / "a" / "b"), str(tmp_path / "a"), str(tmp_path)}
    await outbox.aclose()


async def test_what_is_appended_is_synced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No crash of a process can tell: only a power cut could, or the statements themselves.
    statements: list[str] = []
    connect = sqlite_file.sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite_file.sqlite3, "connect", traced)
    outbox = FileOutbox(path)
    await outbox.claim(lease=1.0, limit=1)
    await outbox.append(ANNA, [said()])
    modes = [statement for statement in statements if "synchronous" in statement or "journal_mode" in statement]
    assert "PRAGMA journal_mode = WAL" in modes
    assert modes[-1] == "PRAGMA synchronous = FULL"
    await outbox.aclose()


async def test_a_full_disk_is_blocked_and_heals(path: Path, outbox: FileOutbox) -> None:
    before, after = said(), said()
    await outbox.append(ANNA, [before])
    with disk_full_after(path.with_name("outbox.db-wal").stat().st_size + 10_000):
        for _ in range(2):
            with pytest.raises(StoreBlockedError, match="disk is full"):
                await outbox.append(ANNA, [said("x" * 100_000)])
        assert (await outbox.pending(ANNA)).changes == (before,)
    await outbox.append(ANNA, [after])
    assert stored(path) == [before.id, after.id]


async def test_a_folder_that_cannot_be_made_is_blocked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreBlockedError, match="File exists"):
        await FileOutbox(tmp_path / "file" / "outbox.db").append(ANNA, [said()])


async def test_a_folder_for_a_path_is_blocked(tmp_path: Path) -> None:
    with pytest.raises(StoreBlockedError, match="not a folder"):
        await FileOutbox(tmp_path).pending(ANNA)


async def test_another_kind_of_file_is_blocked_and_left_alone(path: Path) -> None:
    path.write_bytes(b"minutes of the meeting" * 100)
    with pytest.raises(StoreBlockedError, match="a path of its own"):
        await FileOutbox(path).append(ANNA, [said()])
    assert path.read_bytes() == b"minutes of the meeting" * 100


async def test_a_damaged_file_says_what_to_do(path: Path) -> None:
    first = FileOutbox(path)
    await first.append(ANNA, [said("x" * 10_000) for _ in range(10)])
    await first.aclose()
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    second = FileOutbox(path)
    with pytest.raises(StoreBlockedError, match="move it away"):
        await second.pending(ANNA)
    await second.aclose()


async def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {file_sql.FORMAT + 1}")
    content = path.read_bytes()
    with pytest.raises(StoreBlockedError, match="newer edgememory"):
        await FileOutbox(path).append(ANNA, [said()])
    assert path.read_bytes() == content


async def test_a_full_outbox_takes_nothing_and_still_delivers(path: Path) -> None:
    outbox = FileOutbox(path, max_bytes=200_000)
    await outbox.append(ANNA, [said("x" * 10_000) for _ in range(20)])
    held = stored(path)
    with pytest.raises(OutboxFullError, match="200000 bytes"):
        await outbox.append(ANNA, [said()])
    assert stored(path) == held
    [claim] = await outbox.claim(lease=LEASE, limit=1)
    await outbox.ack(claim, ids(claim.changes), 1)
    await outbox.append(ANNA, [said()])
    await outbox.aclose()


async def test_it_is_opened_while_another_process_writes(path: Path, outbox: FileOutbox) -> None:
    change = said()
    await outbox.append(ANNA, [change])
    late = FileOutbox(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await late.pending(ANNA)).changes == (change,)
    await late.aclose()


async def test_a_file_that_was_removed_is_not_written_to(path: Path, outbox: FileOutbox) -> None:
    await outbox.append(ANNA, [said()])
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    change = said()
    assert (await outbox.pending(ANNA)).changes == ()
    await outbox.append(ANNA, [change])
    another = FileOutbox(path)
    assert (await another.pending(ANNA)).changes == (change,)
    await another.aclose()


async def test_another_library_s_tables_are_blocked(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA user_version = 1")
        other.execute("CREATE TABLE theirs (x)")
    outbox = FileOutbox(path)
    with pytest.raises(StoreBlockedError, match="give it a path of its own"):
        await outbox.append(ANNA, [said()])
    await outbox.aclose()


async def test_readers_do_not_wait_for_a_writer(path: Path, outbox: FileOutbox) -> None:
    change = said()
    await outbox.append(ANNA, [change])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM changes")
        assert (await outbox.pending(ANNA)).changes == (change,)


async def test_a_write_that_waits_too_long_is_unavailable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.01)
    outbox = FileOutbox(path)
    await outbox.depth()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="another process is writing"):
            await outbox.append(ANNA, [said()])
        other.execute("ROLLBACK")
        await outbox.append(ANNA, [said()])
    await outbox.aclose()


async def test_a_read_that_would_wait_waits_in_a_thread(outbox: FileOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    change = said()
    await outbox.append(ANNA, [change])
    read = file_sql.pending

    def busy_on_the_reader(connection: sqlite3.Connection, user: object) -> object:
        if connection is outbox._reader:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            raise error
        return read(connection, user)

    monkeypatch.setattr(file_sql, "pending", busy_on_the_reader)
    assert (await outbox.pending(ANNA)).changes == (change,)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_cancelled_append_is_whole_or_nothing(path: Path, outbox: FileOutbox) -> None:
    appended: list[list[str]] = []

    async def append() -> None:
        changes = [said() for _ in range(20)]
        appended.append(ids(changes))
        await outbox.append(ANNA, changes)

    for seconds in [0.0, *(random.uniform(0, 0.002) for _ in range(50))]:
        with anyio.move_on_after(seconds):
            await append()
    held = set(stored(path))
    for batch in appended:
        assert held.issuperset(batch) or held.isdisjoint(batch)
    await outbox.append(BERT, [said()])
    assert len((await outbox.pending(BERT)).changes) == 1


async def test_a_thread_whose_task_asyncio_cancelled_is_left_to_finish(
    path: Path, outbox: FileOutbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = file_sql.append
    inside, go_on = Event(), Event()

    def slow_append(*arguments: Any) -> None:
        inside.set()
        go_on.wait()
        append(*arguments)

    monkeypatch.setattr(file_sql, "append", slow_append)
    cancelled = asyncio.create_task(outbox.append(ANNA, [said()]))
    await anyio.to_thread.run_sync(inside.wait)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    following = asyncio.create_task(outbox.append(BERT, [said()]))
    # Long enough for the second thread to get into the first one's transaction, if nothing keeps it out.
    await asyncio.wait({following}, timeout=0.1)
    go_on.set()
    await following
    assert cancelled.cancelled()
    assert len(stored(path)) == 2


async def test_the_wal_does_not_grow_without_bound(path: Path, outbox: FileOutbox) -> None:
    wal = path.with_name("outbox.db-wal")
    for _ in range(300):
        await outbox.append(ANNA, [said("x" * 50_000)])
        await outbox.pending(ANNA)
        [claim] = await outbox.claim(lease=LEASE, limit=1)
        await outbox.ack(claim, ids(claim.changes), 1)
    assert wal.stat().st_size < 6_000_000, "15 MB went through it"
    assert path.stat().st_size < 1_000_000
