"""What goes wrong in a simulated world, one thing after the other, until everything heals."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from edgememory.errors import StoreError
from edgememory.testing.faults import Link
from tests.simulation.stores import RegionCache, true_time
from tests.simulation.world import CLOCK_ERROR, LONGEST_FAULT, LONGEST_LAG, Host, Region, World

Fault = Callable[[], Awaitable[None] | None]


async def storm(world: World) -> None:
    """Break things until the world ends; then heal them all."""
    async with anyio.create_task_group() as group:
        while world.going:
            await anyio.sleep(world.random.expovariate(0.4))
            group.start_soon(_one_fault, world)
        group.cancel_scope.cancel()
    for region in world.regions:
        _heal_region(region)
    for host in world.hosts:
        host.to_outbox.heal()
        host.to_shared.heal()


async def _one_fault(world: World) -> None:
    random = world.random
    region, host = random.choice(world.regions), random.choice(world.hosts)
    faults = (*_of_links(region, host), *_of_stores(world, region), *_of_time(world, host))
    if (fault := random.choice(faults)()) is not None:
        await fault
    await anyio.sleep(random.choice((0.1, 1.0, 4.0, LONGEST_FAULT)))
    _heal_region(region)
    host.to_outbox.heal()
    host.to_shared.heal()
    if world.objects is not None:
        world.objects.kv_refuses = False


def _of_links(region: Region, host: Host) -> tuple[Fault, ...]:
    return (
        lambda: _set(region.to_cache, hangs=True),
        lambda: _set(region.to_cache, down=True),
        lambda: _set(region.to_cache, drops=0.4, loses_answers=0.3),
        lambda: _set(region.to_cache, refuses_writes=True),
        lambda: _set(region.to_object, down=True),
        lambda: _set(region.to_object, hangs=True),
        lambda: _set(region.to_object, drops=0.3, loses_answers=0.3),
        lambda: _set(region.to_object, slow=0.2),
        lambda: _set(region.to_origin, hangs=True),
        lambda: _set(region.to_origin, down=True),
        lambda: _set(region.to_origin, drops=0.2, loses_answers=0.5),
        lambda: _set(region.to_origin, slow=0.4),
        lambda: _set(region.to_origin, slow=0.7),  # each commit is taken, and no answer comes in time
        lambda: _set(region.to_replica, down=True),
        lambda: _set(region.to_replica, hangs=True),
        lambda: _set(region.to_replica, slow=0.06),
        lambda: _set(host.to_outbox, drops=0.3, loses_answers=0.3),
        lambda: _set(host.to_outbox, down=True),
        lambda: _set(host.to_outbox, hangs=True),
        lambda: _set(host.to_outbox, refuses_writes=True),
        lambda: _set(host.to_outbox, slow=0.3),
        lambda: _set(host.to_shared, down=True),
        lambda: _set(host.to_shared, hangs=True),
        lambda: _set(host.to_shared, refuses_writes=True),
    )


def _of_stores(world: World, region: Region) -> tuple[Fault, ...]:
    faults: list[Fault] = []
    cache, objects, replica = region.held, world.objects, region.replica
    if isinstance(cache, RegionCache):
        faults += [
            lambda: cache.evict(cache.held()),
            lambda: cache.evict(cache.held()[:1]),
            lambda: cache.evict(cache.tombstones()),
        ]
    if objects is not None:
        faults += [lambda: setattr(objects, "kv_refuses", True)]
    if replica is not None:
        server = world.random.choice([*replica.servers.values()])
        faults += [server.cut_off, lambda: server.fall_behind(LONGEST_LAG), replica.jump, replica.jump]
    if world.has_backups:
        faults += [lambda: world.ledger.restore(true_time() - world.random.uniform(0.0, 20.0))]
    return tuple(faults)


def _of_time(world: World, host: Host) -> tuple[Fault, ...]:
    return (
        lambda: setattr(host.clock, "skew", world.random.uniform(-CLOCK_ERROR / 2, CLOCK_ERROR / 2)),
        lambda: _arrives_late(world),
        lambda: _arrives_late(world),
    )


async def _arrives_late(world: World) -> None:
    """A request that was given up, or that has long been answered; whoever sent it may be dead."""
    if world.sent:
        with suppress(StoreError):
            await world.random.choice(world.sent)()


def _set(link: Link, **faults: float) -> None:
    for name, value in faults.items():
        setattr(link, name, value)


def _heal_region(region: Region) -> None:
    for link in (region.to_cache, region.to_object, region.to_origin, region.to_replica):
        link.heal()
    if region.replica is not None:
        region.replica.heal()
