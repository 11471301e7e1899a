"""The scenarios, in the order in which they are played: the earlier ones fill the caches for the later."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from time import monotonic, perf_counter

import anyio
import asyncpg
from msgspec.structs import replace
from redis.asyncio import Redis

from edgememory.codec import decode
from edgememory.context import context_block
from edgememory.freshness import Policy, keep_for
from edgememory.keys import entry_key
from edgememory.lab.calls import Call, Expected
from edgememory.lab.people import Person
from edgememory.lab.stage import Stage
from edgememory.lab.world import Agent
from edgememory.stores.redis import RedisStore

GET = "SELECT edgememory.get($1, $2)::text"
MAX_TOKENS = 500
NEW_PROCESS_TIMEOUT = 5.0
HUNG_UP = 5.0
"""Seconds until the caller calls again."""
STALE_AGE = 7200.0
_POOL = 8

ORIGIN, EDGE, MEMORY = Expected("origin"), Expected("redis"), Expected("memory")


async def direct_new_connection(stage: Stage, persons: Sequence[Person]) -> None:
    """No memory layer: connect to Geneva, query, render."""

    async def one(_: int, person: Person) -> float:
        started = perf_counter()
        connection = await asyncpg.connect(stage.world.far_dsn)
        try:
            _render(await connection.fetchval(GET, *_parts(person)))
            return perf_counter() - started
        finally:
            await connection.close()

    stage.opened["direct_new_connection"] = await stage.play("direct_new_connection", persons, 0.1, one)


async def direct_pooled(stage: Stage, persons: Sequence[Person]) -> None:
    """No memory layer, but connections that are open, with the query prepared."""
    async with asyncpg.create_pool(stage.world.far_dsn, min_size=_POOL, max_size=_POOL) as pool:
        async with AsyncExitStack() as stack:
            for _ in range(_POOL):
                connection = await stack.enter_async_context(pool.acquire())
                await connection.fetchval(GET, *_parts(persons[0]))

        async def one(_: int, person: Person) -> float:
            started = perf_counter()
            async with pool.acquire() as connection:
                _render(await connection.fetchval(GET, *_parts(person)))
                return perf_counter() - started

        stage.opened["direct_pooled"] = await stage.play("direct_pooled", persons, 0.05, one)


def _parts(person: Person) -> tuple[str, str]:
    return person.key.namespace, person.key.user_id


def _render(raw: str) -> str:
    return context_block(decode(raw).snapshot, max_tokens=MAX_TOKENS)


async def cold(stage: Stage, persons: Sequence[Person]) -> None:
    """No cache holds the user, the connections are open: one round trip to Geneva. Fills the edge."""
    async with stage.agents() as agents:
        await stage.calls("cold", persons, 0.05, _among(stage, agents, ORIGIN))


async def cold_new_process(stage: Stage, persons: Sequence[Person]) -> None:
    """No cache holds the user, and the process has just begun to open its connections."""

    async def one(_: int, person: Person) -> Call:
        async with stage.world.agent() as agent:
            return await stage.ledger.call(agent, person, ORIGIN, timeout=NEW_PROCESS_TIMEOUT)

    await stage.calls("cold_new_process", persons, 0.15, one)
    await stage.drained()


async def edge(stage: Stage, persons: Sequence[Person]) -> None:
    """The region's cache holds the user since an earlier call; this process does not."""
    async with stage.agents() as agents:
        await stage.calls("edge", persons, 0.06, _among(stage, agents, EDGE))


async def warm(stage: Stage, persons: Sequence[Person]) -> None:
    """The user was warmed while the phone rang."""
    async with stage.agents() as agents:

        async def one(number: int, person: Person) -> Call:
            agent = agents[number % len(agents)]
            await agent.memory.warm(person.user_id)
            return await stage.ledger.call(agent, person, MEMORY)

        await stage.calls("warm", persons, 0.06, one)


async def stale(stage: Stage, persons: Sequence[Person]) -> None:
    """The region's cache holds an entry that is past its ttl."""
    client = Redis.from_url(stage.world.edge_url)
    store = RedisStore(client)
    async with client:
        for person in persons:
            entry = await store.get(person.key)
            if entry is not None:
                # Newer wins, so the entry must go before an older one can stand.
                await client.delete(entry_key(person.key))
                old = replace(entry, synced_at=entry.synced_at - STALE_AGE)
                await store.put(person.key, old, keep=keep_for(old, Policy()))
    async with stage.agents() as agents:
        await stage.calls("stale", persons, 0.08, _among(stage, agents, Expected("redis", "stale")))


async def callback(stage: Stage, persons: Sequence[Person]) -> None:
    """The user calls again 5 s after hanging up, in a new process of the same host: what was just said is there."""
    async with stage.agents() as agents:

        async def one(number: int, person: Person) -> Call:
            first = await stage.ledger.call(agents[number % len(agents)], person, EDGE)
            await anyio.sleep(HUNG_UP)
            async with stage.world.agent() as agent:
                return await stage.ledger.call(agent, person, EDGE, shown=first.said)

        await stage.calls("callback", persons, 0.15, one)


async def origin_down(stage: Stage, persons: Sequence[Person]) -> None:
    """The link to Geneva is cut: nothing can be delivered until it heals."""
    async with stage.agents() as agents:
        stage.world.geneva.cut()
        try:
            await stage.calls("origin_down", persons, 0.06, _among(stage, agents, EDGE))
        finally:
            stage.world.geneva.heal()


async def edge_down(stage: Stage, persons: Sequence[Person]) -> None:
    """The edge hangs, and no agent knows it yet: each waits the tier's timeout, then for Geneva."""
    await _edge_hangs(stage, "edge_down", persons, lambda agent: agent.edge.breaker.succeeded())


async def edge_down_open(stage: Stage, persons: Sequence[Person]) -> None:
    """The edge has been hanging for a while: the breaker is open, so that nobody waits for it."""

    def open_breaker(agent: Agent) -> None:
        for _ in range(10):
            agent.edge.breaker.failed(monotonic())

    await _edge_hangs(stage, "edge_down_open", persons, open_breaker)


async def _edge_hangs(stage: Stage, scenario: str, persons: Sequence[Person], prepare: Callable[[Agent], None]) -> None:
    async with stage.agents() as agents:
        stage.world.edge.hang()
        try:
            await stage.calls(scenario, persons, 0.06, _among(stage, agents, ORIGIN, prepare))
        finally:
            stage.world.edge.heal()


def _among(
    stage: Stage, agents: Sequence[Agent], expected: Expected, prepare: Callable[[Agent], None] = lambda agent: None
) -> Callable[[int, Person], Awaitable[Call]]:
    async def one(number: int, person: Person) -> Call:
        agent = agents[number % len(agents)]
        prepare(agent)
        return await stage.ledger.call(agent, person, expected)

    return one
