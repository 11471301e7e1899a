"""One process of a simulated world, and its ends of the links. When it dies, it does nothing more."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from edgememory import EdgeMemory
from edgememory.models import Confirmed, Entry, UserKey
from edgememory.outbox.delivery import DeliveryPolicy
from edgememory.parts import Parts
from edgememory.testing.faults import DistantCache, DistantOrigin, DistantOutbox, DistantReplica, Link
from edgememory.testing.history import Asked, Died, Event
from edgememory.testing.witness import Witness
from edgememory.tier import NearTier, Tier, store_timeout
from tests.simulation.cloudflare import GUARD, OutboxThere
from tests.simulation.stores import HostCache, IdClock, true_time

if TYPE_CHECKING:
    from tests.simulation.world import Host, World

T = TypeVar("T")
Request = Callable[[], Awaitable[object]]

NAMESPACE = "clinic"
DELIVERY = DeliveryPolicy(lease=6.0, poll=3.0, commit_timeout=1.0, blocked_pause=5.0)
_MAY_ARRIVE_LATE = ("put", "commit", "delete", "append", "ack", "reject")


class Process:
    """A real `EdgeMemory` in a simulated world."""

    def __init__(self, world: "World", host: "Host", name: str) -> None:
        self.world = world
        self.host = host
        self.name = name
        self.alive = True
        self.scope = anyio.CancelScope()
        self.id_clock = IdClock(host.clock)
        self.witness = Witness(self.note, process=name, host=host.name, region=host.region.name, clock=true_time)
        self.requests = 0
        """How many are under way."""
        self.memory = EdgeMemory(
            self._parts(),
            namespace=NAMESPACE,
            policy=world.history.policy,
            delivery=DELIVERY,
            now=host.clock.now,
            monotonic=anyio.current_time,
        )

    def _parts(self) -> Parts:
        host, region = self.host, self.host.region
        return Parts(
            origin=Tier(
                name="origin",
                store=_Origin(self, Wire(self, region.to_origin)),
                timeout=1.0,
                monotonic=anyio.current_time,
            ),
            caches=[
                NearTier(
                    name="host",
                    store=_Shared(host.cache, Wire(self, host.to_shared)),
                    timeout=0.05,
                    monotonic=anyio.current_time,
                ),
                Tier(
                    name="edge",
                    store=DistantCache(region.cache, Wire(self, region.to_cache)),
                    timeout=0.05 if self.world.objects is None else 0.25,
                    monotonic=anyio.current_time,
                    beside_outbox=isinstance(host.reached, OutboxThere),
                ),
            ],
            replica=None
            if region.replica is None
            else Tier(
                name="replica",
                store=DistantReplica(region.replica, Wire(self, region.to_replica)),
                timeout=0.1,
                monotonic=anyio.current_time,
            ),
            outbox=DistantOutbox(host.reached, Guarded(Wire(self, host.to_outbox), "outbox")),
        )

    def note(self, event: Event) -> None:
        """Nobody hears what the dead say."""
        if self.alive:
            self.world.history.add(event)

    def die(self) -> None:
        """Stop at once, wherever it is: nothing that it would still do is done."""
        if self.alive:
            self.alive = False
            self.world.history.add(Died(at=true_time(), process=self.name))
            self.scope.cancel()


class Guarded:
    """A way that answers or raises within seconds, as every outbox must."""

    def __init__(self, wire: "Wire", store: str) -> None:
        self._wire = wire
        self._store = store

    async def carry(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        with store_timeout(GUARD, store=self._store, operation=operation):
            return await self._wire.carry(operation, request)


class Wire:
    """A process' end of a link. What a dead process still asks for is not done, unless it is on its way already."""

    def __init__(self, process: Process, link: Link) -> None:
        self._process = process
        self._link = link

    async def carry(self, operation: str, request: Callable[[], Awaitable[T]]) -> T:
        await self._lives()
        if operation in _MAY_ARRIVE_LATE:
            self._process.world.sent.append(request)
        self._process.requests += 1
        try:
            answer = await self._link.carry(operation, lambda: self._while_alive(request))
        finally:
            self._process.requests -= 1
        await self._lives()
        return answer

    async def _while_alive(self, request: Callable[[], Awaitable[T]]) -> T:
        await self._lives()
        return await request()

    async def _lives(self) -> None:
        if not self._process.alive:
            await anyio.sleep_forever()


class _Shared(DistantCache):
    """The cache of its host, as a process reaches it."""

    def __init__(self, cache: HostCache, wire: Wire) -> None:
        super().__init__(cache, wire)
        self._cache, self._wire = cache, wire

    async def find(self, user: UserKey) -> Confirmed | None:
        return await self._wire.carry("get", lambda: self._cache.found(user))


class _Origin(DistantOrigin):
    """The origin, as a process reaches it."""

    def __init__(self, process: Process, wire: Wire) -> None:
        super().__init__(process.world.ledger, wire)
        self._process = process

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        began = true_time()
        try:
            return await super().get(user, at_least=at_least)
        finally:
            self._process.witness.note(Asked, user.user_id, began, at_least=at_least)
