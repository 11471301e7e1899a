"""Hosts of agents whose stores fail or hang, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import trio.testing

from edgememory import EdgeMemory, Session
from edgememory.errors import StoreBlockedError, StoreUnavailableError
from edgememory.testing.talk import Talk
from tests.unit.fakes import ANNA, NOW, FakeCache, FakeOrigin, FakeOutbox, parts, virtual_now

UNAVAILABLE = StoreUnavailableError("connection refused", store="origin", operation="get")
BROKEN = StoreBlockedError("the disk is full", store="outbox", operation="append")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class World:
    """One origin, one outbox and one cache, for several hosts: each fails or hangs as it is told, in virtual time."""

    def __init__(self) -> None:
        self.origin, self.outbox, self.cache = FakeOrigin(), FakeOutbox(), FakeCache()

    def host(self, outbox: FakeOutbox | None = None) -> EdgeMemory:
        return EdgeMemory(
            parts(self.origin, outbox or self.outbox, self.cache),
            namespace=ANNA.namespace,
            now=virtual_now,
            monotonic=anyio.current_time,
        )

    async def knows_anna(self) -> None:
        talk = Talk(base=0, started=NOW)
        await self.origin.commit(ANNA, [talk.says("in the call before"), talk.is_called("Anna")])


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def memory(world: World) -> AsyncIterator[EdgeMemory]:
    async with world.host() as memory:
        yield memory
        for switch in (world.origin.switch, world.outbox.switch, world.cache.switch):
            switch.heal()
    assert memory.counters.background_errors == 0


def texts(session: Session) -> list[str]:
    return [message.text for message in session.snapshot.messages]


@asynccontextmanager
async def taking(seconds: float) -> AsyncIterator[None]:
    """The virtual seconds that may pass: nothing else makes virtual time go."""
    began = anyio.current_time()
    yield
    assert anyio.current_time() - began == pytest.approx(seconds, abs=0.01)
