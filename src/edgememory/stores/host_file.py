"""Opening the file of the host's cache, and replacing a damaged one under the eyes of other processes."""

import fcntl
import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

from edgememory.errors import StoreBlockedError
from edgememory.sqlite_file import BUSY_SECONDS, code_of, connect, make, number_of, transaction, use_wal
from edgememory.stores.host_sql import FORMAT, SCHEMA


class HostFile:
    """The open file, and which one it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _alone(path):
            make(path)
            _check_owner(path)
            self.number = path.stat().st_ino
            self.room = _share_of_disk(path)
            self.connection = connect(path, 0.0)
            try:
                use_wal(self.connection)
                # What was deleted is to be gone from the disk too.
                self.connection.execute("PRAGMA secure_delete = ON")
                if not _has_schema(self.connection):  # to look needs no lock, which another process may hold for long
                    transaction(self.connection, _make_schema, sync="OFF")
            except BaseException:
                self.connection.close()
                raise

    def stands(self) -> bool:
        """Say whether the path still leads to it: others replace it, and what cleans up folders removes it."""
        return number_of(self._path) == self.number

    def close(self) -> None:
        self.connection.close()


def is_damage(error: sqlite3.Error) -> bool:
    """Say whether *error* means that the file is not a cache of this format, whole."""
    return isinstance(error, _OtherFormatError) or code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, number: int | None) -> bool:
    """Rename the damaged file, *number* if it was opened, unless another process has; say whether this one has.

    Renamed and not removed: a path that was set wrongly may lead to something else.
    """
    with _alone(path):
        if number is not None and number_of(path) != number:
            return False
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            path.rename(f"{path}.damaged")
        return True


class _OtherFormatError(sqlite3.DatabaseError):
    """Another version of the library wrote it."""


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Keep other processes from opening or replacing the file: a new journal must not be taken for the old one's."""
    folder = path.absolute().parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_folder(folder)
    lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        _lock(lock)
        yield
    finally:
        os.close(lock)


def _lock(descriptor: int) -> None:
    # A process that was stopped keeps it: who waits for that one would never take a call.
    deadline = monotonic() + BUSY_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() > deadline:
                raise
            sleep(0.001)
        else:
            return


def _check_folder(folder: Path) -> None:
    """Refuse one in which others could put files in the place of ours, and read what is written there.

    Root's are trusted, and groups: volumes are often mounted so.
    """
    found = folder.lstat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & stat.S_IWOTH:
        raise _not_ours(f"others may write to the folder {folder}")


def _check_owner(path: Path) -> None:
    found = path.lstat()
    if found.st_uid != os.geteuid():
        raise _not_ours(f"{path} is another user's")
    if stat.S_ISREG(found.st_mode) and found.st_mode & 0o077:
        path.chmod(0o600)  # before SQLite gives the files beside it the same mode


def _not_ours(problem: str) -> StoreBlockedError:
    return StoreBlockedError(f"{problem}: set a path in a folder of its own", store="host", operation="open")


def _share_of_disk(path: Path) -> int:
    """Return the bytes that entries may take where the file system is small, as a container's `/dev/shm` is.

    A third: the journal may grow as large as the file, and a full disk takes not even a deletion.
    """
    system = os.statvfs(path)
    return system.f_frsize * system.f_blocks // 3


def _has_schema(connection: sqlite3.Connection) -> bool:
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found not in (0, FORMAT):
        raise _OtherFormatError(f"its format is {found}, and this version writes {FORMAT}")
    return found == FORMAT


def _make_schema(connection: sqlite3.Connection) -> None:
    for statement in SCHEMA.split(";\n\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {FORMAT}")
