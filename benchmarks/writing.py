"""What the file outbox costs, beside the least that SQLite can do on the same disk."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from benchmarks.cache import ROUNDS, USER, microseconds, result
from edgememory.changes import Change, MessageAdded
from edgememory.ids import next_id
from edgememory.outbox.file import FileOutbox

_NUMBER = 20


def change() -> Change:
    return MessageAdded(
        id=next_id(),
        session_id="call",
        session_started=1.0,
        role="user",
        text="I moved to Lisbon last week",
        at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def appending() -> dict[str, str | float]:
    """`FileOutbox.append` of one change until it is durable, beside a bare INSERT that is as durable."""
    return asyncio.run(_appending())


async def _appending() -> dict[str, str | float]:
    with TemporaryDirectory() as folder, closing(_plain(Path(folder))) as plain:
        outbox = FileOutbox(Path(folder) / "outbox.sqlite")

        def insert() -> None:
            row = change()
            plain.execute("INSERT INTO changes VALUES (?, ?)", (row.id, msgspec.json.encode(row)))

        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(await microseconds(lambda: outbox.append(USER, [change()]), number=_NUMBER))
            theirs.append(_microseconds(insert))
        await outbox.aclose()
    return result("FileOutbox.append / a durable INSERT", median(ours), median(theirs))


def looking_up() -> dict[str, str | float]:
    """`FileOutbox.pending` of a user with three changes, beside the bare SELECT and decoding."""
    return asyncio.run(_looking_up())


async def _looking_up() -> dict[str, str | float]:
    with TemporaryDirectory() as folder, closing(_plain(Path(folder))) as plain:
        changes = [change() for _ in range(3)]
        outbox = FileOutbox(Path(folder) / "outbox.sqlite")
        await outbox.append(USER, changes)
        plain.executemany(
            "INSERT INTO changes VALUES (?, ?)", [(each.id, msgspec.json.encode(each)) for each in changes]
        )
        decode = msgspec.json.Decoder(Change).decode

        def select() -> None:
            for _, body in plain.execute("SELECT id, body FROM changes ORDER BY id").fetchall():
                decode(body)

        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(await microseconds(lambda: outbox.pending(USER), number=_NUMBER))
            theirs.append(_microseconds(select))
        await outbox.aclose()
    return result("FileOutbox.pending, 3 changes / SELECT and msgspec", median(ours), median(theirs))


def _plain(folder: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE changes (id TEXT PRIMARY KEY, body BLOB)")
    return connection


def _microseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(_NUMBER):
        call()
    return (time.perf_counter() - start) / _NUMBER * 1e6


BENCHMARKS = [appending, looking_up]
