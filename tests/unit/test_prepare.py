"""A process that stands ready before it has a call, and what it leaves to the call's first moments."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from edgememory import EdgeMemory, EdgeMemoryError
from edgememory.opening import HEAD_START
from edgememory.outbox.file import FileOutbox
from edgememory.parts import Parts
from edgememory.stores.host import HostStore
from edgememory.tier import NearTier, Tier
from tests.unit.fakes import FakeOrigin, FakeOutbox, parts, virtual_now


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Watched(FakeOrigin):
    """An origin that says when it was connected to, and how often it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.connected: list[float] = []
        self.closed = 0

    async def warm(self) -> None:
        self.connected.append(anyio.current_time())

    async def aclose(self) -> None:
        self.closed += 1


def on_disk(folder: Path, origin: FakeOrigin) -> EdgeMemory:
    return EdgeMemory(
        Parts(
            origin=Tier(name="origin", store=origin, timeout=2.0),
            outbox=FileOutbox(folder / "outbox.sqlite"),
            caches=[NearTier(name="host", store=HostStore(folder / "host.sqlite"), timeout=1.0)],
        )
    )


def test_what_was_prepared_on_one_event_loop_serves_on_another(tmp_path: Path) -> None:
    origin = Watched()
    memory = on_disk(tmp_path, origin)

    async def call() -> None:
        async with memory, memory.session("anna") as session:
            session.add_message("user", "hello")
            assert await session.committed() == 1

    asyncio.run(memory.prepare())
    assert (tmp_path / "outbox.sqlite").stat().st_size
    assert (tmp_path / "host.sqlite").stat().st_size
    assert origin.connected == []
    asyncio.run(call())
    assert len(origin.connected) == 1
    assert origin.closed == 1


def test_a_process_that_never_had_a_call_closes_what_it_opened(tmp_path: Path) -> None:
    origin = Watched()
    memory = on_disk(tmp_path, origin)

    async def ready_in_vain() -> None:
        await memory.prepare()
        await memory.aclose()

    asyncio.run(ready_in_vain())
    assert origin.closed == 1
    # SQLite removes the write-ahead log when the last connection of a file is closed.
    assert {path.name for path in tmp_path.iterdir()} == {"outbox.sqlite", "host.sqlite", "host.sqlite.lock"}


def test_a_file_that_cannot_be_opened_is_left_to_who_uses_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "outbox.sqlite").mkdir()
    memory = on_disk(tmp_path, Watched())

    async def call() -> None:
        async with memory, memory.session("anna") as session:
            assert session.degraded

    with caplog.at_level(logging.INFO, logger="edgememory"):
        asyncio.run(memory.prepare())
    assert "the path not a folder" in caplog.text
    asyncio.run(call())


@pytest.mark.anyio
async def test_a_job_connects_once_its_session_is_open_and_in_any_case_soon() -> None:
    for waits, connected_after in ((0.005, 0.005), (1.0, HEAD_START)):
        origin = Watched()
        memory = EdgeMemory(parts(origin, FakeOutbox()), now=virtual_now, monotonic=anyio.current_time)
        await memory.open(deliver=False)
        began = anyio.current_time()
        await anyio.sleep(waits)
        async with memory.session("anna"):
            await anyio.sleep(1)
        assert origin.connected == [pytest.approx(began + connected_after)]
        await memory.aclose()


@pytest.mark.anyio
async def test_what_is_open_is_prepared_already() -> None:
    memory = EdgeMemory(parts(FakeOrigin(), FakeOutbox()), now=virtual_now, monotonic=anyio.current_time)
    async with memory:
        with pytest.raises(EdgeMemoryError, match="already open"):
            await memory.prepare()
        await memory.get_profile("anna")  # and goes on


@pytest.mark.anyio
async def test_parts_that_failed_to_open_are_made_anew_by_the_next_attempt() -> None:
    made: list[FakeOrigin] = []

    async def assemble(stack: object) -> Parts:
        made.append(FakeOrigin())
        if len(made) == 1:
            raise OSError("no such driver")
        return parts(made[-1], FakeOutbox())

    memory = EdgeMemory(assemble, now=virtual_now, monotonic=anyio.current_time)
    with pytest.raises(OSError, match="no such driver"):
        await memory.prepare()
    await memory.prepare()
    await memory.open()
    await memory.aclose()
    await memory.open()
    await memory.aclose()
    assert len(made) == 3
