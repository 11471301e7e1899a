"""Where scenarios are played: callers arrive, are timed, and what they said is delivered before the next ones come."""

import gc
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import FileIO
from time import perf_counter
from typing import TypeVar

import anyio
from anyio import to_thread

from edgememory.lab.calls import Call, Ledger
from edgememory.lab.link import echo_times
from edgememory.lab.people import Person
from edgememory.lab.progress import Progress
from edgememory.lab.world import Agent, World
from edgememory.outbox.file import FileOutbox

T = TypeVar("T")

AGENTS = 8
STRAYS = 0.05
"""The share of calls that a loaded machine may answer another way, after a timeout: from the origin, or degraded; or
that are left before the disk has what was said."""
DRAIN_TIMEOUT = 120.0
_DRAIN_LOOK = 0.1
_DISK_LOOK = 0.1


@dataclass(slots=True, kw_only=True)
class Stage:
    """The world, what was measured in it so far, and what was said."""

    world: World
    progress: Progress
    ledger: Ledger = field(default_factory=Ledger)
    opened: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    left: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    echoes: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    disk: list[float] = field(default_factory=list[float])

    async def play(
        self, scenario: str, persons: Sequence[Person], every: float, one: Callable[[int, Person], Awaitable[T]]
    ) -> list[T]:
        """Let a caller arrive *every* so many seconds; arrivals do not wait for earlier callers."""
        results: list[T] = []
        advance = self.progress.of(scenario, len(persons))

        async def arrive(number: int, person: Person) -> None:
            results.append(await one(number, person))
            advance(self.ledger.busy == 0)

        # What has come to stay would else be looked through while a caller waits. An agent's process may do the same.
        gc.collect()
        gc.freeze()
        start = anyio.current_time()
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._watch_disk)
            async with anyio.create_task_group() as group:
                for number, person in enumerate(persons):
                    group.start_soon(arrive, number, person)
                    await anyio.sleep_until(start + (number + 1) * every)
            watch.cancel_scope.cancel()
        return results

    async def calls(
        self, scenario: str, persons: Sequence[Person], every: float, one: Callable[[int, Person], Awaitable[Call]]
    ) -> list[Call]:
        """Play calls and keep their waits under the scenario's name."""
        calls = await self.play(scenario, persons, every, one)
        self.opened[scenario] = [call.opened for call in calls]
        self.left[scenario] = [call.left for call in calls]
        strays = sum(not call.as_expected for call in calls)
        if strays > STRAYS * len(calls):
            self.ledger.failures.append(f"{scenario}: {strays} of {len(calls)} calls were answered another way")
        return calls

    @asynccontextmanager
    async def agents(self) -> AsyncGenerator[list[Agent]]:
        """Agents with open connections; they end when what was said has been delivered."""
        async with self.world.agents(AGENTS) as agents:
            yield agents
            await self.drained()

    async def drained(self) -> None:
        """Wait until nothing waits in the outbox."""
        outbox = FileOutbox(self.world.outbox)
        try:
            with anyio.move_on_after(DRAIN_TIMEOUT):
                while (await outbox.depth()).changes:  # noqa: ASYNC110  (nothing tells when another agent delivers)
                    await anyio.sleep(_DRAIN_LOOK)
        finally:
            await outbox.aclose()

    async def echo(self, count: int) -> None:
        """Take *count* echoes over each link: the yardstick, while nobody calls."""
        for name, link in self.world.links.items():
            self.echoes.setdefault(name, []).extend(await echo_times(link, count))

    async def _watch_disk(self) -> None:
        """Time what an outbox cannot do without, while calls are played: other programs' writes come in bursts."""
        with self.world.outbox.with_name("disk").open("ab", buffering=0) as file:
            while True:
                self.disk.append(await to_thread.run_sync(_synced_write, file))
                await anyio.sleep(_DISK_LOOK)


def _synced_write(file: FileIO) -> float:
    started = perf_counter()
    file.write(bytes(4096))
    os.fsync(file.fileno())
    return perf_counter() - started
