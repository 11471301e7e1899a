"""Hosts of agents, one beside or after the other, on one origin and one outbox."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from edgememory import EdgeMemory, Parts, Session, Tier
from edgememory.outbox.memory import MemoryOutbox
from edgememory.store import CacheStore, ReplicaStore
from edgememory.stores.memory_origin import InMemoryOrigin


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture
async def memory(anyio_backend: str) -> AsyncIterator[EdgeMemory]:
    async with EdgeMemory.in_memory() as memory:
        yield memory


class World:
    """One origin and one outbox, for several hosts or one after the other."""

    def __init__(self) -> None:
        self.origin = InMemoryOrigin()
        self.outbox = MemoryOutbox()

    def parts(self, *, caches: Sequence[CacheStore] = (), replica: ReplicaStore | None = None) -> Parts:
        return Parts(
            origin=Tier(name="origin", store=self.origin, timeout=1.0),
            outbox=self.outbox,
            caches=[Tier(name="cache", store=cache, timeout=1.0) for cache in caches],
            replica=None if replica is None else Tier(name="replica", store=replica, timeout=1.0),
        )

    def host(self, **options: Any) -> EdgeMemory:
        return EdgeMemory(self.parts(), **options)


def texts(session: Session) -> list[str]:
    return [message.text for message in session.snapshot.messages]
