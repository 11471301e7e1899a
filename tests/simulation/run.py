"""Run one simulated world from its seed to its end, in virtual time. The same seed is the same history, always."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import count
from multiprocessing import get_context
from unittest.mock import patch

import anyio

from edgememory.models import UserKey
from edgememory.testing.history import Drained, History
from edgememory.testing.promises import violations
from edgememory.testing.virtual_time import in_virtual_time
from tests.simulation import agents, stores
from tests.simulation.agents import live
from tests.simulation.converged import converge
from tests.simulation.process import NAMESPACE
from tests.simulation.stores import true_time
from tests.simulation.storm import storm
from tests.simulation.world import Host, World, made_up_world

REPLAY = f"{os.path.relpath(sys.executable)} -m tests.simulation --seed"


def simulate(seed: int) -> History:
    """Return what happened in the world of *seed*."""
    with _counted_from_zero():
        return in_virtual_time(seed, _whole_life, seed)


def broken_in(seed: int) -> list[str]:
    """Return what broke a promise in the world of *seed*."""
    return violations(simulate(seed))


def all_broken_in(seeds: Sequence[int], jobs: int) -> Iterator[list[str]]:
    """Yield for each of *seeds*, in turn, what broke a promise in its world; *jobs* worlds run at once."""
    if jobs == 1:
        yield from map(broken_in, seeds)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(broken_in, seeds, chunksize=10)


@contextmanager
def _counted_from_zero() -> Iterator[None]:
    logger = logging.getLogger("edgememory")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # thousands of warnings of faults that were made on purpose
    try:
        with (
            patch("edgememory.ids.uuid7", stores.simulated_uuid7),
            patch.object(stores, "minted", count()),
            patch.object(agents, "_said", count()),
        ):
            yield
    finally:
        logger.setLevel(level)


async def _whole_life(seed: int) -> History:
    made = made_up_world(seed)
    async with anyio.create_task_group() as group:
        group.start_soon(storm, made)
        for host in made.hosts:
            for _ in range(host.processes):
                group.start_soon(live, made, host)
    async with anyio.create_task_group() as group:
        for host in made.hosts:
            group.start_soon(_drain, made, host)
    for region in made.regions:
        host = next(host for host in made.hosts if host.region is region)
        with made.process(host) as process:
            async with process.memory:
                await converge(process)
    made.history.final = {user: made.ledger.state(UserKey(NAMESPACE, user)) for user in made.users}
    return made.history


async def _drain(made: World, host: Host) -> None:
    """Deliver what processes left behind, as `edgememory work` does."""
    with made.process(host) as process:
        async with process.memory:
            for _ in range(120):
                if (await host.outbox.depth()).changes == 0:
                    break
                await anyio.sleep(1)
    dead = frozenset(letter.id for letter in await host.outbox.dead_letters(limit=10_000))
    waiting = (await host.outbox.depth()).changes
    made.history.add(Drained(at=true_time(), host=host.name, waiting=waiting, dead=dead))
