"""Opening and closing EdgeMemory."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from edgememory import EdgeMemory, EdgeMemoryError, Parts
from edgememory.models import UserKey
from edgememory.stores.memory import InMemoryStore
from tests.unit.fakes import FakeReplica
from tests.unit.hosts import World, anyio_backend, memory, texts

__all__ = ["anyio_backend", "memory"]


async def test_what_is_closed_says_so(anyio_backend: str) -> None:
    memory = EdgeMemory.in_memory()
    calls = (memory.warm, memory.get_profile, memory.get_messages, memory.delete_user)
    for _ in range(2):
        for call in calls:
            with pytest.raises(EdgeMemoryError, match="not open"):
                await call("anna")
        with pytest.raises(EdgeMemoryError, match="not open"):
            await memory.flush()
        with pytest.raises(EdgeMemoryError, match="not open"):
            await memory.session("anna").__aenter__()
        async with memory:
            pass
        await memory.aclose()


async def test_opening_twice_is_refused_and_disturbs_nothing(memory: EdgeMemory) -> None:
    with pytest.raises(EdgeMemoryError, match="already open"):
        await memory.open()
    async with memory.session("anna") as session:
        session.add_message("user", "hello")
        await session.committed()


async def test_opening_in_two_tasks_at_once_opens_it_once(anyio_backend: str) -> None:
    world = World()
    assembled = 0

    async def assemble(stack: Any) -> Parts:
        nonlocal assembled
        assembled += 1
        await anyio.sleep(0.01)
        return world.parts()

    memory = EdgeMemory(assemble)

    async def refused() -> None:
        with pytest.raises(EdgeMemoryError, match="already open"):
            await memory.open()

    async with anyio.create_task_group() as group:
        group.start_soon(refused)
        async with memory:
            pass
        assert assembled == 1


async def test_what_is_still_closing_is_not_opened(anyio_backend: str) -> None:
    world = World()
    memory, refused = world.host(), anyio.Event()

    async def close() -> None:
        with pytest.raises(EdgeMemoryError, match="still closing"):
            await memory.open()
        refused.set()

    world.outbox.aclose = close  # type: ignore[method-assign]  # what closing waits for
    async with memory:
        pass
    assert refused.is_set()
    del world.outbox.aclose
    async with memory:
        pass


async def test_closing_closes_every_store(anyio_backend: str) -> None:
    closed: list[str] = []
    world = World()
    parts = world.parts(caches=[InMemoryStore()], replica=FakeReplica(world.origin))
    stores = {
        "origin": parts.origin.store,
        "outbox": parts.outbox,
        "cache": parts.caches[0].store,
        "replica": parts.replica and parts.replica.store,
    }

    def closing(name: str) -> Callable[[], Any]:
        async def aclose() -> None:
            closed.append(name)

        return aclose

    for name, store in stores.items():
        store.aclose = closing(name)  # type: ignore[method-assign, union-attr]  # each is watched
    async with EdgeMemory(parts):
        assert closed == []
    assert sorted(closed) == sorted(stores)


async def test_a_memory_can_be_opened_again() -> None:
    world = World()
    memory = world.host()
    for number in range(3):
        async with memory, memory.session("anna") as session:
            assert len(texts(session)) == number
            session.add_message("user", "hello")


async def test_opening_that_fails_closes_what_was_opened_and_can_be_repeated(anyio_backend: str) -> None:
    left: list[str] = []
    world = World()

    async def assemble(stack: Any) -> Parts:
        stack.callback(left.append, "left")
        if len(left) < 1:
            raise ConnectionRefusedError
        return world.parts()

    memory = EdgeMemory(assemble)
    with pytest.raises(ConnectionRefusedError):
        await memory.open()
    assert left == ["left"]
    async with memory, memory.session("anna"):
        pass
    assert left == ["left", "left"]


async def test_closing_delivers_what_it_can() -> None:
    world = World()
    async with world.host() as memory, memory.session("anna") as session:
        session.add_message("user", "hello")
    assert (await world.outbox.depth()).changes == 0
    assert [m.text for m in world.origin.state(UserKey("default", "anna")).messages] == ["hello"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_asyncio_it_may_be_opened_and_closed_in_different_tasks(anyio_backend: str) -> None:
    memory = EdgeMemory.in_memory()
    await asyncio.create_task(memory.open())

    async def talk() -> int:
        async with memory.session("anna") as session:
            session.add_message("user", "hello")
            return await session.committed()

    assert await asyncio.create_task(talk()) == 1
    await asyncio.create_task(memory.aclose())
    with pytest.raises(EdgeMemoryError, match="not open"):
        await memory.warm("anna")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_is_closed_while_it_is_opened_closes_all_that_it_opened(anyio_backend: str) -> None:
    world, assembling, goes_on = World(), anyio.Event(), anyio.Event()
    closed: list[str] = []

    async def assemble(stack: AsyncExitStack) -> Parts:
        assembling.set()
        await goes_on.wait()
        stack.callback(closed.append, "server")
        return world.parts()

    memory = EdgeMemory(assemble)
    async with anyio.create_task_group() as group:
        group.start_soon(memory.open)
        await assembling.wait()
        group.start_soon(memory.aclose)
        await anyio.wait_all_tasks_blocked()
        goes_on.set()
    assert closed == ["server"]
    with pytest.raises(EdgeMemoryError, match="not open"):
        await memory.warm("anna")


async def test_whoever_is_cancelled_closes_it_all_the_same(anyio_backend: str) -> None:
    world = World()
    closed: list[str] = []

    async def assemble(stack: AsyncExitStack) -> Parts:
        stack.callback(closed.append, "server")
        return world.parts()

    memory = EdgeMemory(assemble)
    with anyio.CancelScope() as scope:
        async with memory:
            scope.cancel()
            await anyio.sleep_forever()
    assert closed == ["server"]
    with pytest.raises(EdgeMemoryError, match="not open"):
        await memory.warm("anna")
