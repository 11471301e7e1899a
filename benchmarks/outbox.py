"""The file outbox, beside the least that SQLite can do on the same disk."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.measure import Result, awaited, called, compare
from benchmarks.people import USER, a_call, message
from edgememory.changes import Change
from edgememory.models import UserKey
from edgememory.outbox.file import FileOutbox

_NUMBER = 20


class PlainTable:
    """Changes in a table of SQLite's, as durable as the outbox's, and no more: no users, leases or limits."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE changes (id TEXT PRIMARY KEY, body BLOB)")
        self._decode = msgspec.json.Decoder[Change](Change).decode

    def insert(self, changes: Sequence[Change]) -> None:
        """Insert *changes* in one transaction: they are on the disk when it returns."""
        self._connection.execute("BEGIN IMMEDIATE")
        rows = [(change.id, msgspec.json.encode(change)) for change in changes]
        self._connection.executemany("INSERT INTO changes VALUES (?, ?)", rows)
        self._connection.execute("COMMIT")

    def select(self) -> list[Change]:
        rows = self._connection.execute("SELECT id, body FROM changes ORDER BY id").fetchall()
        return [self._decode(body) for _, body in rows]

    def close(self) -> None:
        self._connection.close()


async def measured() -> AsyncIterator[Result]:
    with TemporaryDirectory() as folder, closing(PlainTable(Path(folder) / "plain.sqlite")) as plain:
        outbox = FileOutbox(Path(folder) / "outbox.sqlite")
        changes = a_call()
        callers = (UserKey("default", f"caller-{n}") for n in count())
        await outbox.append(USER, changes)
        plain.insert(changes)
        yield await compare(
            "FileOutbox.pending, 3 changes",
            awaited(lambda: outbox.pending(USER), number=_NUMBER),
            called(plain.select, number=_NUMBER),
            beside="SELECT and msgspec's decoding",
            unit="µs",
        )
        yield await compare(
            "FileOutbox.append of a change, durable",
            awaited(lambda: outbox.append(next(callers), [message()]), number=_NUMBER),
            called(lambda: plain.insert([message()]), number=_NUMBER),
            beside="a durable INSERT, on the loop's thread",
            unit="µs",
        )
        await outbox.aclose()
