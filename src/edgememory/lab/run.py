"""One run of the lab: the regions one after the other, each through the scenarios."""

from collections.abc import Sequence
from dataclasses import replace

import anyio
from msgspec import Struct

from edgememory.lab.calls import Ledger
from edgememory.lab.geography import World
from edgememory.lab.link import echo_times, wan_link
from edgememory.lab.people import NAMESPACE
from edgememory.lab.progress import Progress
from edgememory.lab.report import SingleFlight
from edgememory.lab.running import Running, running_world
from edgememory.lab.samples import Samples
from edgememory.lab.scenarios.playbook import AT_CLOUDFLARE, SCENARIOS
from edgememory.lab.site import Kind, Site, all_connected
from edgememory.lab.stage import AGENTS, Stage, drained
from edgememory.models import UserKey

READERS = 1000
CALIBRATED = 0.150
"""The round trip of the link by which the lab measures its own error, in seconds. It has no jitter."""
_CALIBRATIONS = 200
_ABSENT = UserKey(NAMESPACE, "absent")
_ECHO_ROUNDS = 3  # at the least
_LEAST_ECHOES = 100


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be played."""

    world: World
    regions: tuple[str, ...]
    scenarios: tuple[str, ...]
    count: int
    """Calls of each scenario in each region."""

    def of(self, kind: Kind) -> tuple[str, ...]:
        """Return the scenarios of one kind of agents."""
        return tuple(name for name in self.scenarios if SCENARIOS[name].kind == kind)


class Played(Struct, frozen=True, kw_only=True):
    """What came of it. Times in seconds."""

    samples: Samples
    said: int
    delivered: int
    single_flight: SingleFlight
    errors: list[float]
    """How much later than it should an echo came back over a link of `CALIBRATED`."""
    failures: list[str]


async def run(plan: Plan, progress: Progress) -> Played:
    """Start the world, play the plan, stop the world."""
    samples, ledger = Samples(), Ledger()
    replicas = plan.world.replicas if plan.of("replica") else ()
    kv = plan.world.kv if set(plan.scenarios) & set(AT_CLOUDFLARE) else None
    home = plan.world.places[plan.world.origin].label
    progress.say(f"starting Postgres in {home}, and its replicas: {', '.join(replicas) or 'none'}")
    async with running_world(plan.world, replicas) as running:
        errors = await _own_errors(running)
        flights: list[SingleFlight] = []
        for name in plan.regions:
            async with running.site(plan.world.region(name), kv=kv) as site:
                stage = Stage(
                    running=running,
                    site=site,
                    agents=(),
                    count=plan.count,
                    progress=progress,
                    ledger=ledger,
                    samples=samples,
                )
                await _region(stage, plan)
                if not flights:
                    flights.append(await _single_flight(site, ledger))
        delivered = await ledger.delivered(running.postgres.dsn)
    return Played(
        samples=samples,
        said=len(ledger.said),
        delivered=delivered,
        single_flight=flights[0],
        errors=errors,
        failures=ledger.failures,
    )


async def _region(stage: Stage, plan: Plan) -> None:
    site = stage.site
    echoes = -(-max(plan.count, _LEAST_ECHOES) // _ECHO_ROUNDS)
    await stage.echo(echoes)
    for kind in site.kinds:
        await _scenarios(stage, site.of(kind), plan.of(kind))
        await stage.echo(echoes)


async def _scenarios(stage: Stage, site: Site, names: Sequence[str]) -> None:
    if not names:
        return
    async with site.agents(AGENTS) as agents:
        staged = replace(stage, site=site, agents=agents)
        for name in names:
            await all_connected(agents)
            await SCENARIOS[name].play(staged)
            await drained(site)


async def _single_flight(site: Site, ledger: Ledger) -> SingleFlight:
    """Let 1,000 readers open one user whom nobody knows, all at once."""
    async with site.agents(1) as (agent,):

        async def one() -> None:
            async with agent.memory.session(_ABSENT.user_id, timeout=5.0) as session:
                if session.degraded:
                    ledger.failures.append("single_flight: a session opened degraded")

        async with anyio.create_task_group() as group:
            for _ in range(READERS):
                group.start_soon(one)
        asked = [request for request in agent.record.requests if request.user == _ABSENT]
        return SingleFlight(READERS, sum(request.service == "geneva" for request in asked))


async def _own_errors(running: Running) -> list[float]:
    async with wan_link("127.0.0.1", running.postgres.port, round_trip=CALIBRATED) as link:
        return [took - CALIBRATED for took in await echo_times(link, _CALIBRATIONS)]
