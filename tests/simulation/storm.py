"""What goes wrong in a simulated world, one thing after the other, until everything heals."""

from collections.abc import Callable

import anyio

from edgememory.testing.faults import Link
from tests.simulation.history import Restarted
from tests.simulation.stores import RegionCache, true_time
from tests.simulation.world import LONGEST_FAULT, Region, World


async def storm(world: World) -> None:
    """Break things until the world ends; then heal them all."""
    async with anyio.create_task_group() as group:
        while world.going:
            await anyio.sleep(world.random.expovariate(0.4))
            group.start_soon(_one_fault, world)
        group.cancel_scope.cancel()
    _heal(world)


async def _one_fault(world: World) -> None:
    random = world.random
    region = random.choice(world.regions)
    host = random.choice(world.hosts)
    fault: Callable[[], Link | None] = random.choice(
        (
            lambda: _set(region.to_cache, hangs=True),
            lambda: _set(region.to_cache, down=True),
            lambda: _set(region.to_cache, drops=0.4, loses_answers=0.3),
            lambda: _set(region.to_cache, refuses_writes=True),
            lambda: _restart(world, region),
            lambda: _set(region.to_object, down=True),
            lambda: _set(region.to_object, hangs=True),
            lambda: _set(region.to_object, drops=0.3, loses_answers=0.3),
            lambda: _kv_refuses(world),
            lambda: _set(region.to_origin, hangs=True),
            lambda: _set(region.to_origin, down=True),
            lambda: _set(region.to_origin, drops=0.2, loses_answers=0.5),
            lambda: _set(region.to_replica, down=True),
            lambda: _cut_off(region),
            lambda: _set(host.to_outbox, drops=0.3, loses_answers=0.3),
            lambda: _set(host.to_outbox, down=True),
            lambda: _set(host.to_outbox, refuses_writes=True),
        )
    )
    link = fault()
    await anyio.sleep(random.choice((0.1, 1.0, 4.0, LONGEST_FAULT)))
    if link is not None:
        link.heal()
    if world.objects is not None:
        world.objects.kv_refuses = False
    if region.replica is not None:
        region.replica.catch_up()


def _set(link: Link, **faults: float) -> Link:
    for name, value in faults.items():
        setattr(link, name, value)
    return link


def _restart(world: World, region: Region) -> None:
    """The cache comes back empty."""
    if isinstance(region.held, RegionCache):
        region.held.forget()
        world.history.add(Restarted(at=true_time(), region=region.name))


def _kv_refuses(world: World) -> None:
    if world.objects is not None:
        world.objects.kv_refuses = True


def _cut_off(region: Region) -> None:
    if region.replica is not None:
        region.replica.cut_off()


def _heal(world: World) -> None:
    for region in world.regions:
        for link in (region.to_cache, region.to_object, region.to_origin, region.to_replica):
            link.heal()
        if region.replica is not None:
            region.replica.catch_up()
    for host in world.hosts:
        host.to_outbox.heal()
    world.healed.set()
