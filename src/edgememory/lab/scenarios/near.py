"""Calls as edgememory serves them, from the agents of one region."""

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

import anyio
from msgspec.structs import replace

from edgememory.freshness import Policy, keep_for
from edgememory.lab.calls import Call, Expected
from edgememory.lab.people import Person
from edgememory.lab.scenarios.tracing import trace
from edgememory.lab.site import Agent, Site
from edgememory.lab.stage import Stage

EVERY = 0.045
"""Seconds from one caller to the next."""
EVERY_NEW_PROCESS = 0.1
NEW_PROCESS_TIMEOUT = 5.0
HUNG_UP = 5.0
"""Seconds until the caller calls again."""
SOME_MINUTES = 600.0
"""Seconds since an entry was true: fresh, but old enough for a refresh when a session opens on it."""
PAST_ITS_TTL = 7200.0

ORIGIN, EDGE, MEMORY = Expected("origin"), Expected("redis"), Expected("memory")


async def cold(stage: Stage) -> None:
    """No cache holds the user, the connections are open: one round trip to Geneva."""
    await stage.calls("cold", await stage.people("cold"), EVERY, among(stage, ORIGIN))


async def cold_new_process(stage: Stage) -> None:
    """No cache holds the user, and the process has just begun to open its connections."""

    async def one(_: int, person: Person) -> Call:
        async with stage.site.agent() as agent:
            return await stage.ledger.call(agent, person, ORIGIN, timeout=NEW_PROCESS_TIMEOUT)

    persons = await stage.people("cold_new_process")
    await stage.calls("cold_new_process", persons, EVERY_NEW_PROCESS, one)


async def edge(stage: Stage) -> None:
    """The region's cache holds the user since an earlier call; this process does not."""
    persons = await stage.people("edge")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)
    calls = await stage.calls("edge", persons, EVERY, among(stage, EDGE))
    await trace(stage, calls)


async def warm(stage: Stage) -> None:
    """The user was warmed while the phone rang."""
    persons = await stage.people("warm")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)

    async def one(number: int, person: Person) -> Call:
        agent = stage.agents[number % len(stage.agents)]
        await agent.memory.warm(person.user_id)
        return await stage.ledger.call(agent, person, MEMORY)

    await stage.calls("warm", persons, EVERY, one)


async def stale(stage: Stage) -> None:
    """The region's cache holds an entry that is past its ttl."""
    persons = await stage.people("stale")
    await fill_edge(stage.site, persons, age=PAST_ITS_TTL)
    await stage.calls("stale", persons, EVERY, among(stage, Expected("redis", "stale")))


async def callback(stage: Stage) -> None:
    """The user calls again 5 s after hanging up, in a new process of the same host: what was just said is there."""
    persons = await stage.people("callback")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)
    first_call = among(stage, EDGE)

    async def one(number: int, person: Person) -> Call:
        first = await first_call(number, person)
        await anyio.sleep(HUNG_UP)
        async with stage.site.agent() as agent:
            return await stage.ledger.call(agent, person, EDGE, shown=first.said)

    await stage.calls("callback", persons, EVERY_NEW_PROCESS, one)


async def origin_down(stage: Stage) -> None:
    """The link to Geneva is cut: nothing can be delivered until it heals."""
    persons = await stage.people("origin_down")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)
    stage.site.geneva.cut()
    try:
        await stage.calls("origin_down", persons, EVERY, among(stage, EDGE))
    finally:
        stage.site.geneva.heal()


async def edge_down(stage: Stage) -> None:
    """The edge hangs, and no agent knows it yet: each waits the tier's timeout, then for Geneva."""
    await _edge_hangs(stage, "edge_down", lambda agent: agent.edge.breaker.succeeded())


async def edge_down_open(stage: Stage) -> None:
    """The edge has been hanging for a while: the breaker is open, so that nobody waits for it."""

    def open_breaker(agent: Agent) -> None:
        for _ in range(10):
            agent.edge.breaker.failed(monotonic())

    await _edge_hangs(stage, "edge_down_open", open_breaker)


async def _edge_hangs(stage: Stage, scenario: str, prepare: Callable[[Agent], None]) -> None:
    persons = await stage.people(scenario)
    stage.site.edge.hang()
    try:
        await stage.calls(scenario, persons, EVERY, among(stage, ORIGIN, prepare))
    finally:
        stage.site.edge.heal()
        for agent in stage.agents:
            agent.edge.breaker.succeeded()


async def fill_edge(site: Site, persons: Sequence[Person], *, age: float) -> None:
    """Leave in the region's cache what it would have kept of calls *age* seconds ago."""
    for person in persons:
        entry = await site.origin_beside.get(person.key)
        old = replace(entry, synced_at=entry.synced_at - age)
        await site.edge_beside.put(person.key, old, keep=keep_for(old, Policy()))


def among(
    stage: Stage, expected: Expected, prepare: Callable[[Agent], None] = lambda agent: None
) -> Callable[[int, Person], Awaitable[Call]]:
    """Let the stage's agents take the calls in turn."""

    async def one(number: int, person: Person) -> Call:
        agent = stage.agents[number % len(stage.agents)]
        prepare(agent)
        return await stage.ledger.call(agent, person, expected)

    return one
