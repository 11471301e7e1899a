"""One load for many readers, in a task that none of them owns."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import anyio

from edgememory.background import Background

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Flight(Generic[V]):
    """A running load. It lands once, perhaps before the load has ended; `best` is what it could say by now."""

    def __init__(self) -> None:
        self.best: V | None = None
        self._landed = anyio.Event()
        self._scope = anyio.CancelScope()
        self._waiters = 0
        self._kept = False

    def note(self, value: V) -> None:
        """Say what a waiter gets that cannot wait for the landing."""
        if not self._landed.is_set():
            self.best = value

    def land(self, value: V) -> None:
        """Give every waiter *value*; later calls change nothing."""
        self.note(value)
        self._landed.set()

    @property
    def landed(self) -> bool:
        return self._landed.is_set()

    async def run(self, load: Callable[["Flight[V]"], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await load(self)
        finally:
            self._landed.set()

    async def wait(self, deadline: float) -> bool:
        """Wait until it lands or *deadline* (the event loop's clock), and say whether it landed.

        A waiter that is cancelled leaves, and the last to leave cancels the load. A waiter that timed out leaves the
        load running: its answer is wanted, if late.
        """
        self._waiters += 1
        try:
            with anyio.CancelScope(deadline=deadline):
                await self._landed.wait()
            self._kept = self._kept or not self.landed
            return self.landed
        except anyio.get_cancelled_exc_class():
            if self._waiters == 1 and not self._kept and not self.landed:
                self._scope.cancel()
            raise
        finally:
            self._waiters -= 1

    @property
    def cancelled(self) -> bool:
        return self._scope.cancel_called


class SingleFlight(Generic[K, V]):
    """At most one running load per key."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self._flights: dict[K, Flight[V]] = {}

    def running(self, key: K) -> Flight[V] | None:
        """Return the key's flight, unless it was cancelled: who comes after that must not inherit it."""
        flight = self._flights.get(key)
        return None if flight is None or flight.cancelled else flight

    def start(self, key: K, load: Callable[[Flight[V]], Awaitable[None]]) -> Flight[V]:
        """Start a load; a flight of this key that still runs goes on, but takes no more readers."""
        flight = Flight[V]()
        self._background.start(self._run, key, flight, load)
        self._flights[key] = flight  # only now: nobody may wait for a load that was not started
        return flight

    async def _run(self, key: K, flight: Flight[V], load: Callable[[Flight[V]], Awaitable[None]]) -> None:
        try:
            await flight.run(load)
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
