"""Calls where a replica stands in the place of a cache: what it saves, and what its lag costs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from anyio import to_thread

from edgememory.changes import MessageAdded
from edgememory.ids import next_id
from edgememory.lab.calls import Call, Expected
from edgememory.lab.people import Person
from edgememory.lab.scenarios.near import EVERY, ORIGIN, among
from edgememory.lab.servers import ReplicaServer
from edgememory.lab.site import Agent
from edgememory.lab.stage import Stage

REPLICA = Expected("replica")
LAG = 5.0
"""Seconds: the worse end of what replicas on rented machines are said to be behind (1 to 5 s)."""
CATCH_UP = 30.0


async def replica(stage: Stage) -> None:
    """The region has no cache, but a replica, which holds the user."""
    persons = await stage.people("replica")
    await _caught_up(stage)
    await stage.calls("replica", persons, EVERY, among(stage, REPLICA))


async def replica_unknown_user(stage: Stage) -> None:
    """The user is so new that the replica has not heard of them: its word is not believed, Geneva is asked."""
    await _caught_up(stage)
    server = _nearest(stage)
    await to_thread.run_sync(server.pause)
    try:
        persons = await stage.people("replica_unknown_user")
        await stage.calls("replica_unknown_user", persons, EVERY, among(stage, ORIGIN))
    finally:
        await to_thread.run_sync(server.resume)


async def replica_lag_5s(stage: Stage) -> None:
    """The replica is 5 s behind, and something was said elsewhere just now: the caller meets the memory from before."""
    async with _lagging(stage, "replica_lag_5s") as persons:

        async def one(number: int, person: Person) -> Call:
            await _said_elsewhere(stage, person)
            return await stage.ledger.call(_agent(stage, number), person, REPLICA)

        await stage.calls("replica_lag_5s", persons, EVERY, one)


async def replica_lag_5s_at_least(stage: Stage) -> None:
    """The same, but the agent was given the version: it waits for Geneva, and meets what was just said."""
    async with _lagging(stage, "replica_lag_5s_at_least") as persons:

        async def one(number: int, person: Person) -> Call:
            text, version = await _said_elsewhere(stage, person)
            return await stage.ledger.call(_agent(stage, number), person, ORIGIN, shown=text, at_least=version)

        await stage.calls("replica_lag_5s_at_least", persons, EVERY, one)


@asynccontextmanager
async def _lagging(stage: Stage, group: str) -> AsyncGenerator[Sequence[Person]]:
    persons = await stage.people(group)
    await _caught_up(stage)
    server = _nearest(stage)
    await to_thread.run_sync(server.set_lag, LAG)
    try:
        yield persons
    finally:
        await to_thread.run_sync(server.set_lag, 0.0)


async def _said_elsewhere(stage: Stage, person: Person) -> tuple[str, int]:
    """Let another region's agent deliver something now; return it, and the version that shows it."""
    text = f"Calls from another city now, {next_id()}."
    now = datetime.now(UTC)
    said = MessageAdded(
        id=next_id(), session_id="elsewhere", session_started=now.timestamp(), role="user", text=text, at=now
    )
    committed = await stage.site.origin_beside.commit(person.key, (said,))
    return text, committed.entry.snapshot.version


def _agent(stage: Stage, number: int) -> Agent:
    return stage.agents[number % len(stage.agents)]


def _nearest(stage: Stage) -> ReplicaServer:
    place = stage.site.region.replica
    assert place is not None, "played only where there is one"
    return stage.running.replicas[place]


async def _caught_up(stage: Stage) -> None:
    await to_thread.run_sync(_nearest(stage).catch_up, CATCH_UP)
