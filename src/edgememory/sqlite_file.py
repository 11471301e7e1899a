"""SQLite files that the processes of a host share: opening them, writing to them, and what their errors mean."""

import os
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection
from time import monotonic, sleep
from typing import Literal, TypeVar

from edgememory.errors import StoreBlockedError, StoreError, StoreUnavailableError

BUSY_SECONDS = 5.0
"""How long a write waits for another process's."""

_DAMAGED = "the file is damaged: move it away with its -wal and -shm; `sqlite3 FILE .recover` may save its changes"
_ANOTHER = "the file holds something else: give it a path of its own"
_ERRORS: dict[int, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (StoreUnavailableError, "another process is writing"),
    sqlite3.SQLITE_LOCKED: (StoreUnavailableError, "another process is writing"),
    sqlite3.SQLITE_PROTOCOL: (StoreUnavailableError, "another process is opening the file"),
    sqlite3.SQLITE_FULL: (StoreBlockedError, "the disk is full"),
    sqlite3.SQLITE_IOERR: (StoreBlockedError, "the disk is full, or has failed"),
    sqlite3.SQLITE_READONLY: (StoreBlockedError, "the file and its folder must be writable"),
    sqlite3.SQLITE_CANTOPEN: (StoreBlockedError, "the folder must be writable, and the path not a folder"),
    sqlite3.SQLITE_PERM: (StoreBlockedError, "the file must be readable and writable"),
    sqlite3.SQLITE_CORRUPT: (StoreBlockedError, _DAMAGED),
    sqlite3.SQLITE_NOTADB: (StoreBlockedError, _ANOTHER),
    sqlite3.SQLITE_ERROR: (StoreBlockedError, _ANOTHER),  # its tables are none of ours
}

T = TypeVar("T")

Sync = Literal["FULL", "NORMAL", "OFF"]
"""FULL is on the disk when it is committed. NORMAL survives a crash of the process, not one of the machine, which may
take back the last commits, in their order: right for what may be done again. OFF waits for no disk: a crash of the
machine may damage the file, which is right for what may be forgotten."""


@contextmanager
def sqlite_translated(operation: str, *, store: str) -> Generator[None]:
    """Do what `errors.translated` does, by SQLite's result codes: its exception classes say too little."""
    try:
        yield
    except sqlite3.Error as error:
        if code_of(error) not in _ERRORS:
            raise
        ours, advice = _ERRORS[code_of(error)]
        raise ours(f"{error}: {advice}", store=store, operation=operation) from error
    except BlockingIOError as error:
        raise StoreUnavailableError("another process is opening the file", store=store, operation=operation) from error
    except OSError as error:
        raise StoreBlockedError(str(error), store=store, operation=operation) from error


def would_wait(error: sqlite3.Error) -> bool:
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def code_of(error: sqlite3.Error) -> int:
    """Return the primary result code; 0 for the errors of Python's module itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def transaction(connection: Connection, work: Callable[[Connection], T], *, sync: Sync = "FULL") -> T:
    """Do all of *work*, or none of it; see `Sync`."""
    connection.execute(f"PRAGMA synchronous = {sync}")
    _begin(connection)
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors, a full disk among them.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _begin(connection: Connection) -> None:
    # SQLite's own waiting looks at ever longer intervals, up to 100 ms, for a lock that is held for one.
    deadline = monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not would_wait(error) or monotonic() > deadline:
                raise
            sleep(0.001)
        else:
            return


def connect(path: Path, wait_seconds: float) -> Connection:
    return sqlite3.connect(path, timeout=wait_seconds, isolation_level=None, check_same_thread=False)


def make(path: Path) -> None:
    """Make the file if there is none, readable by its owner only: it holds what callers said.

    SQLite gives the files beside it the same mode. An existing file is not opened here: closing it would end
    the locks that other connections of this process hold on it.
    """
    folder = path.absolute().parent
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        for each in (folder, *(made.parent for made in missing)):
            _sync_folder(each)


def number_of(path: Path) -> int | None:
    """Return which file the path leads to; `None` if to none."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def use_wal(connection: Connection) -> None:
    # Where several processes switch a new file to WAL together, SQLite may fail one of them at once (seen), without
    # waiting for its timeout.
    deadline = monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not would_wait(error) or monotonic() > deadline:
                raise
            sleep(0.005)
        else:
            return
