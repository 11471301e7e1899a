"""Calls where somebody is elsewhere: the agent beside the database, or the caller in another region."""

from dataclasses import replace
from time import perf_counter

import anyio
from msgspec import structs

from edgememory.lab.calls import Call
from edgememory.lab.geography import Region
from edgememory.lab.people import Person
from edgememory.lab.scenarios.near import EDGE, EVERY, ORIGIN, SOME_MINUTES, among, fill_edge
from edgememory.lab.stage import Stage, drained
from edgememory.session import Session

_PATIENCE = 5.0
_AGENTS = 2
_LOOK = 0.002


async def agent_in_geneva(stage: Stage) -> None:
    """The agent stands beside the database: the memory is near, and each word of the caller's travels."""
    origin = stage.running.world.origin
    moved = structs.replace(stage.site.region, agent=origin, edge=origin, replica=None)
    async with stage.running.site(moved) as site, site.agents(_AGENTS) as agents:
        there = replace(stage, site=site, agents=agents)
        await stage.calls("agent_in_geneva", await stage.people("agent_in_geneva"), EVERY, among(there, ORIGIN))
        await drained(site)


async def travel(stage: Stage) -> None:
    """The user called in another region just now, and calls here, where the cache knows them from some minutes ago."""
    persons = await stage.people("travel")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)
    async with stage.running.site(_elsewhere(stage)) as site, site.agents(_AGENTS) as agents:
        newest: list[float] = []

        async def one(number: int, person: Person) -> Call:
            version = 0

            async def until_committed(session: Session) -> None:
                nonlocal version
                version = await session.committed()

            async def until_newest(session: Session) -> None:
                opened = perf_counter()
                with anyio.move_on_after(_PATIENCE):
                    while session.snapshot.version < version:  # noqa: ASYNC110  (a session tells nobody what it adopts)
                        await anyio.sleep(_LOOK)
                newest.append(perf_counter() - opened)

            await stage.ledger.call(agents[number % _AGENTS], person, ORIGIN, stay=until_committed)
            here = stage.agents[number % len(stage.agents)]
            return await stage.ledger.call(here, person, EDGE, stay=until_newest)

        await stage.calls("travel", persons, EVERY, one)
        stage.samples.newest[stage.site.region.name]["travel"] = newest
        await drained(site)


def _elsewhere(stage: Stage) -> Region:
    """Return a region whose agents are not here; in a world of one place, another host of it."""
    world, here = stage.running.world, stage.site.region
    regions = [world.region(name) for name in world.callers]
    return next((region for region in regions if region.agent != here.agent), here)
