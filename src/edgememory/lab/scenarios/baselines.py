"""What people do without edgememory: ask the database, or keep its answer in a cache for an hour."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import TypeAlias

import anyio
import asyncpg
import msgspec
from redis.asyncio import Redis

from edgememory.changes import Change, MessageAdded
from edgememory.codec import decode
from edgememory.context import context_block
from edgememory.ids import next_id
from edgememory.lab.month import gaps
from edgememory.lab.people import Person
from edgememory.lab.stage import Stage

GET = "SELECT edgememory.get($1, $2)::text"
COMMIT = "SELECT edgememory.commit($1, $2, $3::json)::text"
MAX_TOKENS = 500
RECIPE_TTL = 3600
_POOL = 32
"""Connections: twice as many as edgememory's agents have, so that nobody waits for one. A pool's connection is busy for
a round trip more when it is given back."""

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class _Committed(msgspec.Struct):
    entry: msgspec.Raw


async def direct_new_connection(stage: Stage) -> None:
    """No memory layer: connect to Geneva, query, render."""

    async def one(person: Person) -> float:
        connection = await asyncpg.connect(stage.site.origin_dsn)
        try:
            return _rendered(await connection.fetchval(GET, *_parts(person)))
        finally:
            await connection.close()

    await stage.lookups("direct_new_connection", await stage.people("direct_new_connection"), 0.1, one)


async def direct_pooled(stage: Stage) -> None:
    """No memory layer, but connections that are open, with the query prepared."""
    persons = await stage.people("direct_pooled")
    async with _open_pool(stage, persons) as pool:

        async def one(person: Person) -> float:
            async with pool.acquire() as connection:  # giving it back takes a round trip more, for which nobody waits
                return _rendered(await connection.fetchval(GET, *_parts(person)))

        await stage.lookups("direct_pooled", persons, 0.05, one)


async def cache_aside_1h(stage: Stage) -> None:
    """The recipe that was sketched: read the profile from the cache, on a miss from Geneva, keep it for an hour.

    Whose profile is still there when they call is drawn from a month of callers. After the call the profile and the
    database are written in the background, and nobody looks whether that succeeds.
    """
    persons = await stage.people("cache_aside_1h")
    since = dict(zip(persons, gaps(len(persons), seed=1), strict=True))
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(_open_pool(stage, persons))
        cache: Redis = await stack.enter_async_context(Redis.from_url(stage.site.edge_url))
        for person in persons:
            if since[person] < RECIPE_TTL:
                profile = await pool.fetchval(GET, *_parts(person))
                await cache.set(_key(person), profile, ex=RECIPE_TTL - int(since[person]))
        after = await stack.enter_async_context(anyio.create_task_group())

        async def one(person: Person) -> float:
            profile = await cache.get(_key(person))
            if profile is not None:
                had = _rendered(profile)
            else:
                async with pool.acquire() as connection:
                    profile = await connection.fetchval(GET, *_parts(person))
                    had = _rendered(profile)
                after.start_soon(_keep, cache, person, profile)
            after.start_soon(_write, pool, cache, person)
            return had

        await stage.lookups("cache_aside_1h", persons, 0.05, one)


async def _keep(cache: Redis, person: Person, profile: str | bytes) -> None:
    await cache.set(_key(person), profile, ex=RECIPE_TTL)


async def _write(pool: Pool, cache: Redis, person: Person) -> None:
    said: Change = MessageAdded(
        id=next_id(),
        session_id="recipe",
        session_started=datetime.now(UTC).timestamp(),
        role="user",
        text="That was all, thank you.",
        at=datetime.now(UTC),
    )
    committed = await pool.fetchval(COMMIT, *_parts(person), msgspec.json.encode([said]).decode())
    await _keep(cache, person, bytes(msgspec.json.decode(committed, type=_Committed).entry))


@asynccontextmanager
async def _open_pool(stage: Stage, persons: Sequence[Person]) -> AsyncGenerator[Pool]:
    async with asyncpg.create_pool(stage.site.origin_dsn, min_size=_POOL, max_size=_POOL) as pool:
        # All at once: each is the only free one for its reader.
        async with anyio.create_task_group() as group:
            for _ in range(_POOL):
                group.start_soon(partial(pool.fetchval, GET, *_parts(persons[0])))
        yield pool


def _key(person: Person) -> str:
    return f"user:{person.user_id}:profile"


def _parts(person: Person) -> tuple[str, str]:
    return person.key.namespace, person.key.user_id


def _rendered(profile: str | bytes) -> float:
    """Make the context block, and return when it was there."""
    context_block(decode(profile).snapshot, max_tokens=MAX_TOKENS)
    return perf_counter()
