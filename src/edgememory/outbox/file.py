"""The outbox of one host: a SQLite file that its processes share."""

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection
from threading import Lock
from time import time
from typing import TYPE_CHECKING, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread

from edgememory.changes import Change
from edgememory.errors import OutboxFullError
from edgememory.models import Claim, DeadLetter, Depth, Pending, UserKey
from edgememory.outbox import file_sql
from edgememory.outbox.file_database import open_reader, open_writer
from edgememory.sqlite_file import number_of, sqlite_translated, transaction, would_wait
from edgememory.store import Outbox

T = TypeVar("T")


class FileOutbox:
    """An outbox in one SQLite file, shared by the processes of a host.

    What `append` was given is on the disk when it returns, so the disk must outlive the process. It must be a
    local one: processes share memory beside the file, which no network file system offers. Nothing is opened
    before the first use. `now` is the wall clock, by which processes judge each other's leases.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int = 1024**3, now: Callable[[], float] = time
    ) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._now = now
        # SQLite takes one writer at a time: more threads would only wait. The limiter alone is not enough: a
        # task that asyncio itself cancels gives its place up while its thread still works.
        self._limiter = CapacityLimiter(1)
        self._lock = Lock()
        self._number: int | None = None
        self._writer: Connection | None = None
        self._reader: Connection | None = None

    def open(self) -> None:
        """Open the file ahead of the first request."""
        self._locked("open", lambda connection: None)

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        """Keep *changes*, all or none, also when cancelled.

        Raises:
            OutboxFullError: the file holds `max_bytes`. What it holds can still be delivered.
        """

        def work(connection: Connection) -> Pending:
            if file_sql.size(connection) >= self._max_bytes:
                raise OutboxFullError(f"{self._path} holds {self._max_bytes} bytes, all that it may")
            file_sql.append(connection, user, changes, self._now())
            return file_sql.pending(connection, user)

        if not changes:
            return await self.pending(user)
        return await self._run("append", lambda connection: transaction(connection, work))

    async def pending(self, user: UserKey) -> Pending:
        # Opening a session waits for this, and a thread would cost more than the read: one indexed statement,
        # on a connection of its own, on the loop's thread. In WAL mode readers do not wait for writers. Where
        # one would have to after all (another process recovers the file), the thread does it.
        if self._reader is not None and number_of(self._path) == self._number:
            with sqlite_translated("pending", store="file_outbox"):
                try:
                    return file_sql.pending(self._reader, user)
                except sqlite3.OperationalError as error:
                    if not would_wait(error):
                        raise
        return await self._run("pending", lambda connection: file_sql.pending(connection, user), abandon=True)

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        """Lease users: those first who wait longest, counted from when they were last handed out."""
        return await self._write(
            "claim", lambda connection: file_sql.claim(connection, lease=lease, limit=limit, now=self._now())
        )

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        await self._write("ack", lambda connection: file_sql.ack(connection, claim, ids, version, self._now()))

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        await self._write("reject", lambda connection: file_sql.reject(connection, claim, ids, error, self._now()))

    async def depth(self) -> Depth:
        return await self._run("depth", lambda connection: file_sql.depth(connection, self._now()))

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """Return what was given up, newest first."""
        return await self._run("dead_letters", lambda connection: file_sql.dead_letters(connection, limit))

    async def aclose(self) -> None:
        """Close the file. A later call opens it again."""
        # On the loop's thread, where it is used.
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        with CancelScope(shield=True):
            await to_thread.run_sync(self._close, limiter=self._limiter)

    async def _write(self, operation: str, work: Callable[[Connection], T]) -> T:
        # A lease or an acknowledgement that the machine's crash takes back costs one delivery more. Not to wait for
        # the disk here spares those who do: there is one writer at a time.
        return await self._run(operation, lambda connection: transaction(connection, work, sync="NORMAL"))

    async def _run(self, operation: str, work: Callable[[Connection], T], *, abandon: bool = False) -> T:
        return await to_thread.run_sync(self._locked, operation, work, abandon_on_cancel=abandon, limiter=self._limiter)

    def _locked(self, operation: str, work: Callable[[Connection], T]) -> T:
        with self._lock, sqlite_translated(operation, store="file_outbox"):
            return work(self._opened())

    def _opened(self) -> Connection:
        if self._writer is not None and number_of(self._path) != self._number:
            # Removed or replaced: what is written to the old one is in no outbox. The reader is the loop's to close.
            self._writer.close()
            self._writer = self._reader = None
        if self._writer is None:
            self._writer = open_writer(self._path)
            self._number = number_of(self._path)
            reader = open_reader(self._path)
            with suppress(sqlite3.OperationalError):
                # The first read parses the schema: better here than while a caller waits.
                file_sql.pending(reader, UserKey("", ""))
            self._reader = reader
        return self._writer

    def _close(self) -> None:
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()


if TYPE_CHECKING:
    _: type[Outbox] = FileOutbox
