"""`get`, `commit` and `get_messages` of random users, among 1,000, 10,000 and 100,000 of them."""

import hashlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import asyncpg
import msgspec

from benchmarks.measure import Result, Round, in_turns, result
from benchmarks.people import a_call
from edgememory.changes import Change, MessageAdded, PreferenceSet
from edgememory.ids import next_id
from edgememory.lab.people import NAMESPACE, STARTED, people
from edgememory.lab.servers import PostgresServer, postgres_server
from edgememory.models import UserKey
from edgememory.stores.postgres import PostgresPrimary, migrate

SIZES = (1_000, 10_000, 100_000)
_ROUNDS = 60
_USERS_A_ROUND = 20
_FILL = Path(__file__).with_suffix(".sql")
# With it, the server says how long a page took that was not in its own memory.
_SETTINGS = {"track_io_timing": "on"}
_PAGES = "SELECT blks_hit, blks_read, blk_read_time, pg_database_size(datname) FROM pg_stat_database WHERE datname = $1"
Operation = Callable[[PostgresPrimary, UserKey], Awaitable[object]]
_OPERATIONS: Mapping[str, Operation] = {
    "get": lambda origin, user: origin.get(user),
    "commit, 3 changes": lambda origin, user: origin.commit(user, a_call()),
    "get_messages, all 20": lambda origin, user: origin.get_messages(user),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database of the one server, with as many users as it says."""

    users: int
    name: str
    origin: PostgresPrimary

    def someone(self) -> UserKey:
        return _user(random.randint(1, self.users))


@dataclass(frozen=True, slots=True)
class Pages:
    """What the server has asked for so far, in pages of 8 KiB, and how large the database is."""

    hit: int
    read: int
    read_ms: float
    bytes: int


async def measured() -> AsyncIterator[Result]:
    async with postgres_server(settings=_SETTINGS) as server:
        databases = [await _made(server, users) for users in SIZES]
        before = {each.users: await _pages(server, each) for each in databases}
        costs = {name: await _measured(databases, operation) for name, operation in _OPERATIONS.items()}
        for each in databases:
            await each.origin.aclose()  # with a connection's end, the server has counted all that it did
        notes = {each.users: _note(before[each.users], await _pages(server, each)) for each in databases}
    smallest = SIZES[0]
    for name, by_size in costs.items():
        for users in SIZES[1:]:
            yield result(
                f"{name}: {users:,} users",
                by_size[users],
                by_size[smallest],
                beside=f"{smallest:,} users",
                unit="ms",
                ratio_at_most=1.5,
                note=notes[users],
            )


async def _measured(databases: list[Database], operation: Operation) -> Mapping[int, list[float]]:
    return await in_turns({each.users: _timed(each, operation) for each in databases}, rounds=_ROUNDS)


def _timed(database: Database, operation: Operation) -> Round:
    """A round of random users, one after another; its cost is their median."""

    async def once() -> float:
        seconds: list[float] = []
        for _ in range(_USERS_A_ROUND):
            user = database.someone()
            started = time.perf_counter()
            await operation(database.origin, user)
            seconds.append(time.perf_counter() - started)
        return median(seconds)

    return once


# Making them


async def _made(server: PostgresServer, users: int) -> Database:
    name = f"users_{users}"
    dsn = server.create_database(name)
    await migrate(dsn)
    async with _connected(dsn) as connection:
        await connection.execute("CREATE TEMPORARY TABLE earlier (number integer, change json)")
        rows = [(number, msgspec.json.encode(change).decode()) for number, change in enumerate(_earlier())]
        await connection.executemany("INSERT INTO earlier VALUES ($1, $2)", rows)
        await connection.execute(f"SET benchmarks.users = {users}")
        await connection.execute(_FILL.read_text(encoding="utf-8"))
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    database = Database(users=users, name=name, origin=PostgresPrimary(dsn))
    await _check(database)
    return database


def _earlier() -> list[Change]:
    """Return what the lab's users have told it, its messages twice over, and two preferences more."""
    changes = list(people("grown", 1)[0].earlier_calls())
    more = [
        PreferenceSet(id=next_id(), session_id="", session_started=STARTED.timestamp(), name=name, value=value)
        for name, value in (("voice", "alto"), ("speed", 0.9))
    ]
    return changes + [change for change in changes if isinstance(change, MessageAdded)] + more


async def _check(database: Database) -> None:
    """Raise unless a user is what one would be that sessions had made."""
    user = database.someone()
    seen = (await database.origin.get(user)).snapshot
    history = (await database.origin.get_messages(user)).items
    found = [len(each) for each in (history, seen.messages, seen.facts, seen.summaries, seen.preferences)]
    if found != [20, 10, 8, 3, 3] or seen.last_id < max(message.id for message in history):
        raise RuntimeError(f"a user of {database.name} is not as intended: {found}")


def _user(number: int) -> UserKey:
    return UserKey(NAMESPACE, hashlib.md5(str(number).encode()).hexdigest())


# Saying what was in memory


async def _pages(server: PostgresServer, database: Database) -> Pages:
    async with _connected(server.dsn) as connection:
        return Pages(*(await connection.fetchrow(_PAGES, database.name) or ()))


def _note(before: Pages, after: Pages) -> str:
    read = after.read - before.read
    share = read / (read + after.hit - before.hit)
    took = 1000 * (after.read_ms - before.read_ms) / max(1, read)
    return f"{after.bytes / 2**20:,.0f} MiB; {share:.1%} of pages not in shared_buffers, {took:.0f} µs each"


@asynccontextmanager
async def _connected(dsn: str) -> "AsyncGenerator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
