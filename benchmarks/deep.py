"""`EdgeMemory.search`: one user's 10,000 messages among all that are in the table."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import cast

import asyncpg

from benchmarks.chatter import Chatter
from benchmarks.measure import Result, compare, percentile
from edgememory.client import EdgeMemory
from edgememory.lab.servers import PostgresServer, postgres_server
from edgememory.outbox.memory import MemoryOutbox
from edgememory.parts import ORIGIN_TIMEOUT, Parts
from edgememory.stores.postgres import PostgresPrimary, migrate
from edgememory.tier import OriginTier, Tier

_OF_ONE_USER = 10_000
_OF_A_SESSION = 20
_NUMBER = 100
_ROUNDS = 10
_AT_MOST: Mapping[int, float | None] = {50: None, 99: 25.0}  # milliseconds: a turn must not feel it
_COLUMNS = ("namespace", "user_id", "id", "session_id", "role", "text", "at")
_INDEX = "SELECT pg_get_indexdef('edgememory.messages_words'::regclass)"
_USER = "SELECT edgememory.commit('default', $1, '[]')"
_PLAIN = "SELECT edgememory.get_messages('default', $1, NULL, NULL, $2)::text"
_READ = 150
"""Messages that the yardstick reads: as many as a search brings along."""


async def measured(*, messages: int = 100_000) -> AsyncIterator[Result]:
    async with postgres_server() as server, _filled(server, messages) as connection:
        tier: OriginTier = Tier(name="origin", store=PostgresPrimary(server.dsn), timeout=ORIGIN_TIMEOUT)
        async with EdgeMemory(Parts(origin=tier, outbox=MemoryOutbox())) as memory:
            chatter = Chatter(2)
            users = cycle(_users(messages))
            reading = await connection.prepare(_PLAIN)

            async def search() -> None:
                await memory.search(next(users), chatter.question())

            async def read() -> None:
                await reading.fetchval(next(users), _READ)

            for percent, at_most in _AT_MOST.items():
                yield await compare(
                    f"EdgeMemory.search, {messages:,} messages: {percent} % of searches",
                    percentile(percent, search, number=_NUMBER),
                    percentile(percent, read, number=_NUMBER),
                    beside=f"asyncpg, the newest {_READ} messages",
                    unit="ms",
                    rounds=_ROUNDS,
                    ours_at_most=at_most,
                    note="in it: ranking in this process",
                )


def _users(messages: int) -> list[str]:
    return [f"user-{number}" for number in range(max(1, messages // _OF_ONE_USER))]


@asynccontextmanager
async def _filled(server: PostgresServer, messages: int) -> "AsyncGenerator[asyncpg.Connection[asyncpg.Record]]":
    """Put in messages as conversations bring them: all users speak by turns, so that none's rows lie together."""
    await migrate(server.dsn)
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.executemany(_USER, [(user,) for user in _users(messages)])
        await connection.execute("SET edgememory.writing = 'on'; SET maintenance_work_mem = '1GB'")
        index = cast(str, await connection.fetchval(_INDEX))
        await connection.execute("DROP INDEX edgememory.messages_words")
        rows = _rows(messages)
        while some := list(islice(rows, 10_000)):
            await connection.copy_records_to_table("messages", schema_name="edgememory", records=some, columns=_COLUMNS)
        await connection.execute(index)
        await connection.execute("VACUUM ANALYZE")
        yield connection
    finally:
        await connection.close()


def _rows(messages: int) -> Iterator[tuple[object, ...]]:
    users, began = _users(messages), datetime(2024, 1, 1, tzinfo=UTC)
    for number, text in enumerate(islice(Chatter(1).texts(), messages)):
        turn, at = number // len(users), began + timedelta(seconds=number)
        milliseconds = f"{int(at.timestamp() * 1000):012x}"
        id = f"{milliseconds[:8]}-{milliseconds[8:]}-7000-8000-{number:012x}"
        role = "assistant" if turn % 2 else "user"
        yield "default", users[number % len(users)], id, f"session-{turn // _OF_A_SESSION}", role, text, at
