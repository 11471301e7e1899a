"""Cancellation at every single await of a read, of a conversation and of leaving, on both event loops.

On asyncio twice: as anyio does it, and by `Task.cancel`, as frameworks do.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from edgememory import EdgeMemory
from edgememory.parts import Parts
from edgememory.testing.faults import DistantCache, DistantOrigin, DistantOutbox, Link
from edgememory.tier import Tier
from tests.simulation.steps import cancelled_at
from tests.unit.fakes import ANNA, FakeCache, FakeOrigin, FakeOutbox

Work = Callable[[], Coroutine[Any, Any, None]]
LONGEST = 200
"""No read and no conversation waits so often: the test must come to an end."""


@pytest.fixture(params=[("asyncio", "scope"), ("asyncio", "task"), ("trio", "scope")], ids="-".join)
def loop_and_way(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def anyio_backend(loop_and_way: tuple[str, str]) -> str:
    return loop_and_way[0]


@pytest.fixture
def way(loop_and_way: tuple[str, str]) -> str:
    return loop_and_way[1]


class World:
    def __init__(self) -> None:
        self.origin, self.cache, self.outbox = FakeOrigin(), FakeCache(), FakeOutbox()
        self.memory = EdgeMemory(
            Parts(
                origin=Tier(name="origin", store=DistantOrigin(self.origin, Link(store="origin")), timeout=5.0),
                caches=[Tier(name="edge", store=DistantCache(self.cache, Link(store="edge")), timeout=5.0)],
                outbox=DistantOutbox(self.outbox, Link(store="outbox")),
            ),
            namespace=ANNA.namespace,
        )

    async def delivered(self) -> list[str]:
        """Wait until nothing waits any more, and return what the origin has."""
        await self.memory.flush()
        while (await self.outbox.pending(ANNA)).changes:
            await checkpoint()
        return sorted(fact.text for fact in self.origin.state(ANNA).facts)


async def _cancelled_at(await_number: int, way: str, work: Work) -> bool:
    """Say whether *work* came so far as to be cancelled."""
    reached = True

    async def run(cancel: Callable[[], object]) -> None:
        nonlocal reached
        _, reached = await cancelled_at(await_number, cancel, work())

    if way == "scope":
        with anyio.CancelScope() as scope:
            await run(scope.cancel)
    else:

        async def in_a_task() -> None:
            task = asyncio.current_task()
            assert task is not None
            await run(task.cancel)

        await asyncio.gather(asyncio.create_task(in_a_task()), return_exceptions=True)
    return reached


async def test_a_read_cancelled_anywhere_leaves_nothing_behind(way: str) -> None:
    for await_number in range(1, LONGEST):
        world = World()
        async with world.memory as memory:

            async def read(memory: EdgeMemory = memory) -> None:
                await memory.get_profile(ANNA.user_id)

            reached = await _cancelled_at(await_number, way, read)
            for _ in range(30):
                await checkpoint()
            assert memory._running is not None
            assert not memory._running.tiered._reads._flights
            assert (await memory.warm(ANNA.user_id)).status == "fresh"
            assert memory.counters.background_errors == 0
        if not reached:
            assert await_number > 1
            return
    pytest.fail("a read without an end")


async def test_one_of_two_readers_cancelled_anywhere_disturbs_not_the_other(way: str) -> None:
    for await_number in range(1, LONGEST):
        world = World()
        statuses: list[str] = []
        async with world.memory as memory, anyio.create_task_group() as group:

            async def other(memory: EdgeMemory = memory, statuses: list[str] = statuses) -> None:
                statuses.append((await memory.warm(ANNA.user_id)).status)

            async def read(memory: EdgeMemory = memory) -> None:
                await memory.warm(ANNA.user_id)

            group.start_soon(other)
            reached = await _cancelled_at(await_number, way, read)
        assert statuses == ["fresh"]
        if not reached:
            return
    pytest.fail("a read without an end")


async def test_a_conversation_cancelled_anywhere_loses_nothing_that_was_said(way: str) -> None:
    for await_number in range(1, LONGEST):
        world = World()
        said: list[str] = []
        async with world.memory as memory:

            async def talk(memory: EdgeMemory = memory, said: list[str] = said) -> None:
                async with memory.session(ANNA.user_id) as session:
                    session.remember("first")
                    said.append("first")
                    await checkpoint()
                    session.remember("second")
                    said.append("second")

            reached = await _cancelled_at(await_number, way, talk)
            assert memory._running is not None
            assert not memory._running.sessions.of(ANNA)
            async with memory.session(ANNA.user_id) as session:
                assert [fact.text for fact in reversed(session.snapshot.facts)] == said
                assert not session.degraded
            assert await world.delivered() == said
            assert memory.counters.background_errors == 0
        if not reached:
            assert said == ["first", "second"]
            return
    pytest.fail("a conversation without an end")


async def test_closing_cancelled_anywhere_keeps_what_was_said(way: str) -> None:
    """What the origin had not taken by then is taken by the next process on the same outbox."""
    for await_number in range(1, LONGEST):
        world = World()

        async def live(world: World = world) -> None:
            async with world.memory as memory, memory.session(ANNA.user_id) as session:
                session.remember("said")
                assert session.snapshot.facts

        reached = await _cancelled_at(await_number, way, live)
        made = world.memory.counters.changes_made
        async with world.memory:
            assert len(await world.delivered()) == made
        if not reached:
            return
    pytest.fail("a process without an end")


async def test_nothing_runs_on_after_closing() -> None:
    world = World()
    before = asyncio.all_tasks() if asyncio._get_running_loop() else set()
    async with world.memory as memory, memory.session(ANNA.user_id) as session:
        session.remember("said")
    if before:
        assert asyncio.all_tasks() == before
    assert [fact.text for fact in world.origin.state(ANNA).facts] == ["said"]
