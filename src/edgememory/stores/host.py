"""The cache that the processes of one host share: a SQLite file. Frameworks run a process for each call."""

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from sqlite3 import Connection
from threading import Lock
from time import time
from typing import TYPE_CHECKING, TypeVar

from anyio import CapacityLimiter, to_thread

from edgememory import codec
from edgememory.errors import CorruptEntryError
from edgememory.keys import entry_key
from edgememory.models import Confirmed, Entry, UserKey
from edgememory.sqlite_file import sqlite_translated, transaction
from edgememory.stores import host_sql
from edgememory.stores.host_file import HostFile, is_damage, set_aside

if TYPE_CHECKING:
    from edgememory.sealing import Sealing

_log = logging.getLogger("edgememory")
T = TypeVar("T")

MAX_BYTES = 256 * 1024 * 1024
_LONGEST_KEEP = 100 * 365 * 86_400.0


class HostStore:
    """Entries in one SQLite file, at most *max_bytes* of them: what was not confirmed for longest goes first.

    Of a small file system, as a container's `/dev/shm` is, it takes a third. What is left of a deleted user is never
    dropped before its time, however full it is. A file that is damaged is replaced: it is a cache. It must be on a
    local disk, or in memory (`/dev/shm`), and is readable by its owner only; with *sealing*, by who has the key.
    Nothing is opened before the first use. A read takes tens of microseconds, on the loop's thread; a write has a
    thread of its own. `now` is the wall clock.
    """

    cleared_after = 0.0

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = MAX_BYTES,
        sealing: "Sealing | None" = None,
        now: Callable[[], float] = time,
    ) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._sealing = sealing
        self._now = now
        # Both, as in the file outbox: who is cancelled gives up the place in the limiter while the thread still works.
        self._limiter = CapacityLimiter(1)
        self._lock = Lock()
        self._closing = False
        self._file: HostFile | None = None

    def open(self) -> None:
        """Open the file ahead of the first request."""
        self._locked("open", lambda connection: None)

    async def find(self, user: UserKey) -> Confirmed | None:
        """Return the user's entry, with how long ago a lower tier said so: the near caches confirm each other never.

        Raises:
            CorruptEntryError: its bytes are no entry, or sealed by a key that is not known here.
            StoreError: the file cannot be read.
        """
        key, now = entry_key(user), self._now()
        row = await self._read("get", lambda connection: host_sql.find(connection, key, now))
        if row is None:
            return None
        value, filled_at, keep_until = row
        # A clock that was set back says nothing about how long ago that was.
        unconfirmed = now - filled_at if filled_at <= now else float("inf")
        return Confirmed(self._entry(value, key), unconfirmed, keep_until - now)

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        found = await self.find(user)
        return None if found is None else found.entry

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        """Return the entries that there are. A corrupt one is left out: `get` says what is wrong with it."""
        by_key, now = {entry_key(user): user for user in users}, self._now()
        rows = await self._read("get_many", lambda connection: [*host_sql.find_many(connection, [*by_key], now)])
        found: dict[UserKey, Entry] = {}
        for key, value in rows:
            with suppress(CorruptEntryError):
                found[by_key[key]] = self._entry(value, key)
        return found

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        key, now = entry_key(user), self._now()
        plain = codec.encode(entry)
        value = plain if self._sealing is None else self._sealing.seal(plain, key)

        def work(connection: Connection) -> bool:
            stands = host_sql.put(
                connection,
                key,
                value,
                entry.order,
                erased=entry.snapshot.is_tombstone,
                now=now,
                keep=min(keep, _LONGEST_KEEP),
            )
            host_sql.make_room(connection, self._room, now)
            return stands

        return await self._in_thread("put", lambda connection: transaction(connection, work, sync="OFF"))

    async def warm(self) -> None:
        """Open the file."""
        await self._in_thread("warm", lambda connection: None)

    async def aclose(self) -> None:
        """Close the file: now, or where a thread has it, as soon as that lets go. The loop does not wait."""
        self._closing = True
        self._close_if_free()

    def _close_if_free(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._closing = False
                self._close()
            finally:
                self._lock.release()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _entry(self, value: bytes, key: str) -> Entry:
        return codec.decode(value if self._sealing is None else self._sealing.open(value, key))

    async def _read(self, operation: str, read: Callable[[Connection], T]) -> T:
        # A thread would cost more than the read: it waits for no writer in WAL mode. Where one of this process has the
        # connection, or the file has to be opened or replaced, the thread does it.
        if self._lock.acquire(blocking=False):
            try:
                if self._file is not None and self._file.stands():
                    with suppress(sqlite3.DatabaseError):
                        return read(self._file.connection)
            finally:
                self._lock.release()
        return await self._in_thread(operation, read)

    async def _in_thread(self, operation: str, work: Callable[[Connection], T]) -> T:
        return await to_thread.run_sync(self._locked, operation, work, abandon_on_cancel=True, limiter=self._limiter)

    def _locked(self, operation: str, work: Callable[[Connection], T]) -> T:
        try:
            with self._lock, sqlite_translated(operation, store="host"):
                try:
                    return work(self._connection())
                except sqlite3.DatabaseError as error:
                    if not is_damage(error):
                        raise
                    self._replace(error)
                    return work(self._connection())
        finally:
            if self._closing:
                self._close_if_free()

    @property
    def _room(self) -> int:
        return self._max_bytes if self._file is None else min(self._max_bytes, self._file.room)

    def _connection(self) -> Connection:
        if self._file is not None and not self._file.stands():
            self._close()
        if self._file is None:
            self._file = HostFile(self._path)
        return self._file.connection

    def _replace(self, error: sqlite3.Error) -> None:
        number = None if self._file is None else self._file.number
        self._close()
        if set_aside(self._path, number):
            _log.warning("the host's cache was damaged, is now %s.damaged, and begins anew: %s", self._path, error)


if TYPE_CHECKING:
    from edgememory.store import NearStore

    _: type[NearStore] = HostStore
