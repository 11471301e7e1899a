"""Run one simulated world from its seed to its end, in virtual time. The same seed is the same history, always."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from unittest.mock import patch

import anyio
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from edgememory.apply import bound
from edgememory.models import Entry, Snapshot, UserKey
from tests.simulation import agents, stores
from tests.simulation.agents import live
from tests.simulation.history import Converged, Drained, History
from tests.simulation.stores import true_time
from tests.simulation.storm import storm
from tests.simulation.world import NAMESPACE, Host, Region, World, made_up_world


def simulate(seed: int) -> History:
    """Return what happened in the world of *seed*."""
    with _nothing_left_to_chance(seed):
        return trio.run(_whole_life, seed, clock=MockClock(autojump_threshold=0))


@contextmanager
def _nothing_left_to_chance(seed: int) -> Iterator[None]:
    scheduler = trio._core._run
    state = random.getstate()
    logger = logging.getLogger("edgememory")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # thousands of warnings of faults that were made on purpose
    random.seed(seed)
    scheduler._r.seed(seed)
    try:
        with (
            patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
            patch("edgememory.ids.uuid7", stores.simulated_uuid7),
            patch.object(stores, "minted", count()),
            patch.object(agents, "_said", count()),
        ):
            yield
    finally:
        random.setstate(state)
        logger.setLevel(level)


async def _whole_life(seed: int) -> History:
    made = made_up_world(seed)
    async with anyio.create_task_group() as group:
        group.start_soon(storm, made)
        for host in made.hosts:
            group.start_soon(live, made, host)
    async with anyio.create_task_group() as group:
        for host in made.hosts:
            group.start_soon(_drain, made, host)
    for region in made.regions:
        await _converge(made, region)
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


async def _converge(made: World, region: Region) -> None:
    """Read every user, let a ttl pass, read again; by then the region's cache and the process hold the origin's."""
    host = next(host for host in made.hosts if host.region is region)
    with made.process(host) as process:
        async with process.memory as memory:
            for pause in (made.history.policy.ttl + 1, 3.0):
                for user in made.users:
                    await memory.warm(user)
                await anyio.sleep(pause)
            for user in made.users:
                key = UserKey(NAMESPACE, user)
                expected = _content(bound(made.ledger.state(key)))
                for store, held in (
                    ("memory", (await memory.warm(user)).entry),
                    ("edge", await region.held.get(key)),
                ):
                    made.history.add(
                        Converged(
                            at=true_time(),
                            region=region.name,
                            store=store,
                            user=user,
                            held=_content(_settled(held)),
                            expected=expected,
                        )
                    )


def _settled(entry: Entry | None) -> Snapshot:
    """A cache that holds nothing of a user that does not exist is as right as one that says so."""
    return Snapshot(version=0, exists=False) if entry is None else entry.snapshot


def _content(snapshot: Snapshot) -> str:
    return repr(snapshot if snapshot.version else replace(snapshot, erased_time=0.0))
