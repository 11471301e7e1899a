"""Where scenarios are played: callers arrive, are timed, and what they said is delivered before the next ones come."""

import gc
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from io import FileIO
from time import perf_counter
from typing import TypeVar

import anyio
from anyio import to_thread

from edgememory.lab.calls import Call, Ledger
from edgememory.lab.link import Link, echo_times
from edgememory.lab.people import Person, people
from edgememory.lab.progress import Progress
from edgememory.lab.running import Running
from edgememory.lab.samples import Samples
from edgememory.lab.site import Agent, Hops, Site

T = TypeVar("T")

AGENTS = 8
STRAYS = 0.05
"""The share of calls that a loaded machine may answer another way, after a timeout: from the origin, or degraded; or
that are left before the disk has what was said."""
DRAIN_TIMEOUT = 120.0
_DRAIN_LOOK = 0.1
_DISK_LOOK = 0.1
_LINK_LOOK = 0.2


@dataclass(slots=True, kw_only=True)
class Stage:
    """One region of the running world, its agents, and what was measured and said so far."""

    running: Running
    site: Site
    agents: Sequence[Agent]
    count: int
    """How many calls a scenario has."""
    progress: Progress
    ledger: Ledger
    samples: Samples

    async def people(self, group: str) -> list[Person]:
        """Return new users of this region whom the origin knows."""
        persons = people(f"{self.site.region.name}-{group}", self.count)
        await self.site.load(persons)
        return persons

    async def play(
        self, scenario: str, persons: Sequence[Person], every: float, one: Callable[[int, Person], Awaitable[T]]
    ) -> list[T]:
        """Let a caller arrive *every* so many seconds; arrivals do not wait for earlier callers."""
        results: list[T] = []
        advance = self.progress.of(f"{self.site.region.name}: {scenario}", len(persons))

        async def arrive(number: int, person: Person) -> None:
            results.append(await one(number, person))
            advance(self.ledger.busy == 0)

        # What has come to stay would else be looked through while a caller waits. An agent's process may do the same.
        gc.collect()
        gc.freeze()
        start = anyio.current_time()
        async with anyio.create_task_group() as watch:
            watch.start_soon(self._watch_disk)
            for name, link in self.site.links.items():
                watch.start_soon(self._watch_link, name, link)
            async with anyio.create_task_group() as group:
                for number, person in enumerate(persons):
                    group.start_soon(arrive, number, person)
                    await anyio.sleep_until(start + (number + 1) * every)
            watch.cancel_scope.cancel()
        return results

    async def lookups(
        self, scenario: str, persons: Sequence[Person], every: float, one: Callable[[Person], Awaitable[float]]
    ) -> None:
        """Play what is done without edgememory. *one* returns the moment when it had the context block."""

        async def timed(_: int, person: Person) -> tuple[float, float]:
            hop = await self.site.hops.once()
            started = perf_counter()
            return hop, await one(person) - started

        self._keep(scenario, await self.play(scenario, persons, every, timed))

    async def calls(
        self, scenario: str, persons: Sequence[Person], every: float, one: Callable[[int, Person], Awaitable[Call]]
    ) -> list[Call]:
        """Play calls and keep their waits under the scenario's name."""
        calls = await self.play(scenario, persons, every, one)
        self._keep(scenario, [(call.hop, call.opened - call.asked) for call in calls])
        self.samples.left[self.site.region.name][scenario] = [call.left - call.leaving for call in calls]
        strays = sum(not call.as_expected for call in calls)
        if strays > STRAYS * len(calls):
            self.ledger.failures.append(
                f"{self.site.region.name}, {scenario}: {strays} of {len(calls)} calls were answered another way"
            )
        return calls

    def _keep(self, scenario: str, timed: Sequence[tuple[float, float]]) -> None:
        region = self.site.region.name
        self.samples.opened[region][scenario] = [wait for _, wait in timed]
        self.samples.total[region][scenario] = [hop + wait for hop, wait in timed]

    async def echo(self, count: int) -> None:
        """Take *count* echoes over each link, while nobody calls."""
        for name, link in self.site.links.items():
            self.samples.echoes[f"{self.site.region.name}-{name}"] += await echo_times(link, count)

    async def _watch_link(self, name: str, link: Link) -> None:
        """Take echoes while calls are played: a busy machine delays both. A link that is down has none."""
        hops = Hops(link)
        try:
            while True:
                self.samples.echoes[f"{self.site.region.name}-{name}"].append(await hops.once())
                await anyio.sleep(_LINK_LOOK)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return
        finally:
            with anyio.CancelScope(shield=True):
                await hops.aclose()

    async def _watch_disk(self) -> None:
        """Time what an outbox cannot do without, while calls are played: other programs' writes come in bursts."""
        with self.site.file.with_name("disk").open("ab", buffering=0) as file:
            while True:
                self.samples.disk.append(await to_thread.run_sync(_synced_write, file))
                await anyio.sleep(_DISK_LOOK)


async def drained(site: Site) -> None:
    """Wait until nothing waits in the site's outbox."""
    outbox = site.outbox()
    try:
        with anyio.move_on_after(DRAIN_TIMEOUT):
            while (await outbox.depth()).changes:  # noqa: ASYNC110  (nothing tells when another agent delivers)
                await anyio.sleep(_DRAIN_LOOK)
    finally:
        await outbox.aclose()


def _synced_write(file: FileIO) -> float:
    started = perf_counter()
    file.write(bytes(4096))
    os.fsync(file.fileno())
    return perf_counter() - started
