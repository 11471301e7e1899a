"""`session.recall` and `memory.search` with embedders that fail, hang, or change the world while they embed."""

import math
from collections.abc import Sequence

import anyio
import pytest
from msgspec.structs import replace

from edgememory import EdgeMemory, Parts, Session, StoreUnavailableError, Tier
from edgememory.models import UserKey, Vectors
from edgememory.outbox.memory import MemoryOutbox
from edgememory.recall.deep import meaning_of
from edgememory.recall.embedder import Vector
from edgememory.recall.rank import LONGEST_TEXT
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.testing.embedder import HashEmbedder
from edgememory.testing.talk import Talk
from edgememory.testing.virtual_time import in_virtual_time
from tests.unit.hosts import anyio_backend

__all__ = ["anyio_backend"]


async def recalled(session: Session, query: str, *, deep: bool = False, timeout: float = 0.15) -> list[str]:
    return [match.text for match in await session.recall(query, deep=deep, timeout=timeout)]


class Strange(HashEmbedder):
    """An embedder that answers with what it was given, or raises it."""

    def __init__(self, answer: Sequence[Vector] | Exception) -> None:
        super().__init__()
        self._answer = answer

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@pytest.mark.parametrize(
    "answer",
    [ValueError("a bug"), StoreUnavailableError("away", store="embedder", operation="embed"), []]
    + [[[part, 1.0]] for part in (math.nan, math.inf, 1e200)]
    + [[[0.0, 0.0]], [[1e-200, 0.0]], [["a"]]],
)
async def test_an_embedder_that_fails_leaves_the_words(
    anyio_backend: str, answer: Sequence[Vector] | Exception
) -> None:
    embedder, tier = Strange(answer), Tier(name="origin", store=InMemoryOrigin(), timeout=1.0)
    assert await meaning_of("where?", embedder) is None
    async with EdgeMemory(Parts(origin=tier, outbox=MemoryOutbox(), embedder=embedder)) as memory:
        async with memory.session("caller") as session:
            session.remember("Lives in Lisbon")
            await session.committed()
            assert await recalled(session, "lives", deep=True, timeout=5) == ["Lives in Lisbon"]
        assert [match.text for match in await memory.search("caller", "lives")] == ["Lives in Lisbon"]


class Silent(HashEmbedder):
    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        await anyio.sleep_forever()
        return []


def test_a_search_waits_no_longer_for_an_embedder_than_it_may() -> None:
    async def play() -> float:
        parts = Parts(
            origin=Tier(name="origin", store=InMemoryOrigin(), timeout=1.0), outbox=MemoryOutbox(), embedder=Silent()
        )
        async with EdgeMemory(parts) as memory:
            began = anyio.current_time()
            assert await memory.search("caller", "pin", timeout=0.25) == []
            return anyio.current_time() - began

    assert in_virtual_time(0, play) == 0.25


def test_a_recall_waits_no_longer_for_a_model_that_loads_than_it_may() -> None:
    async def play() -> float:
        cache, embedder = InMemoryStore(), Silent()
        tier = Tier(name="origin", store=InMemoryOrigin(), timeout=1.0)
        entry = replace(await tier.store.get(UserKey("default", "caller")), vectors=Vectors(embedder.model, {}))
        await cache.put(UserKey("default", "caller"), entry, keep=3600)
        parts = Parts(
            origin=tier, caches=[Tier(name="cache", store=cache, timeout=1.0)], outbox=MemoryOutbox(), embedder=embedder
        )
        async with EdgeMemory(parts, now=lambda: entry.synced_at) as memory, memory.session("caller") as session:
            began = anyio.current_time()
            assert await recalled(session, "pin", timeout=0.25) == []
            return anyio.current_time() - began

    assert in_virtual_time(0, play) == 0.25


class Deleting(HashEmbedder):
    """Has the user deleted while it embeds a query."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: EdgeMemory | None = None

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        if self.memory is not None:
            await self.memory.delete_user("caller")
        return await super().embed(texts)


async def test_a_session_that_ends_while_its_query_is_embedded_recalls_nothing(anyio_backend: str) -> None:
    origin = InMemoryOrigin()
    user, embedder, cache = UserKey("default", "caller"), Deleting(), InMemoryStore()
    await origin.commit(user, [Talk().says("My PIN is 1234")])
    await cache.put(user, replace(await origin.get(user), vectors=Vectors(embedder.model, {})), keep=3600)
    tier = Tier(name="origin", store=origin, timeout=1.0)
    caches = [Tier(name="cache", store=cache, timeout=1.0)]
    parts = Parts(origin=tier, caches=caches, outbox=MemoryOutbox(), embedder=embedder)
    async with EdgeMemory(parts) as memory, memory.session("caller") as session:
        assert await recalled(session, "pin") == ["My PIN is 1234"]
        embedder.memory = memory
        assert await recalled(session, "pin") == []
        assert session.ended


async def test_of_a_long_query_as_much_is_embedded_as_is_read_for_its_words(anyio_backend: str) -> None:
    given: list[str] = []

    class Noting(HashEmbedder):
        async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
            given.extend(texts)
            return await super().embed(texts)

    assert await meaning_of("tea " * 100_000, Noting()) is not None
    assert [len(text) for text in given] == [LONGEST_TEXT]
