"""One run of the lab."""

from collections.abc import Awaitable, Callable, Sequence

import anyio

from edgememory.lab import scenarios
from edgememory.lab.people import NAMESPACE, Person, people
from edgememory.lab.progress import Progress
from edgememory.lab.report import Report, Run, SingleFlight, echo_waits, waits
from edgememory.lab.stage import Stage
from edgememory.lab.world import REGION, TO_GENEVA, load, running_world
from edgememory.models import UserKey

Scenario = Callable[[Stage, Sequence[Person]], Awaitable[None]]

READERS = 1000
_ABSENT = UserKey(NAMESPACE, "absent")

ON_KNOWN: tuple[Scenario, ...] = (
    scenarios.direct_new_connection,
    scenarios.direct_pooled,
    scenarios.cold,
    scenarios.edge,
    scenarios.warm,
    scenarios.stale,
    scenarios.callback,
    scenarios.origin_down,
    scenarios.edge_down,
    scenarios.edge_down_open,
)
"""Played on the same users; `cold` is the first that brings them near."""


async def run(count: int, progress: Progress) -> Run:
    """Play *count* calls of each scenario."""
    progress.say("starting Postgres (Geneva), Redis (San Francisco) and the links between them")
    async with running_world() as world:
        stage = Stage(world=world, progress=progress)
        users, new_users = people("user", count), people("new", count)
        await load(world, [*users, *new_users])
        rounds = len(ON_KNOWN) + 1
        for scenario in ON_KNOWN:
            await stage.echo(-(-count // rounds))
            await scenario(stage, users)
        await stage.echo(-(-count // rounds))
        await scenarios.cold_new_process(stage, new_users)
        flight = await single_flight(stage)
        delivered = await stage.ledger.delivered(world.origin_dsn)
        report = Report(
            rtt_ms={REGION: TO_GENEVA * 1000},
            echo_ms={link: echo_waits(times) for link, times in stage.echoes.items()},
            open_ms={REGION: {scenario: waits(times) for scenario, times in stage.opened.items()}},
            leave_ms={REGION: {"up": waits(stage.left["edge"]), "down": waits(stage.left["origin_down"])}},
            delivered=delivered,
            lost=len(stage.ledger.said) - delivered,
            single_flight=flight,
        )
        return Run(report=report, disk=echo_waits(stage.disk), failures=stage.ledger.failures)


async def single_flight(stage: Stage) -> SingleFlight:
    """Let 1,000 readers open one user whom nobody knows, all at once."""
    async with stage.world.agent() as agent:
        await agent.connected()
        before = agent.origin.reads

        async def one() -> None:
            async with agent.memory.session(_ABSENT.user_id, timeout=5.0) as session:
                if session.degraded:
                    stage.ledger.failures.append("single_flight: a session opened degraded")

        async with anyio.create_task_group() as group:
            for _ in range(READERS):
                group.start_soon(one)
        return SingleFlight(READERS, agent.origin.reads - before)
