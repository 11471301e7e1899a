"""What a hot read costs, beside the least that a function can do and beside a decorator that caches."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

from async_lru import alru_cache
from msgspec.structs import replace

from benchmarks.cache import ROUNDS, USER, entry_of_8_kib, microseconds, result
from edgememory.background import Background
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.telemetry import Counters
from edgememory.tier import Tier
from edgememory.tiered import TieredStore

_NUMBER = 5_000


def hot_read_beside_a_dict() -> dict[str, str | float]:
    """`TieredStore.read` from process memory, beside a bare `async def` that looks a string up in a dict."""
    plain = {"user-42": "an entry"}

    async def bare(key: str) -> str:
        return plain[key]

    return asyncio.run(_hot_read("TieredStore.read, hot / async def with a dict", lambda: bare("user-42")))


def hot_read_beside_async_lru() -> dict[str, str | float]:
    """`TieredStore.read` from process memory, beside async-lru with a ttl."""

    @alru_cache(ttl=3600)
    async def cached(key: str) -> str:
        return key

    return asyncio.run(_hot_read("TieredStore.read, hot / @alru_cache(ttl=...)", lambda: cached("user-42")))


async def _hot_read(name: str, yardstick: Callable[[], Awaitable[object]]) -> dict[str, str | float]:
    async with Background(Counters()) as background:
        store = TieredStore(
            background=background,
            near=InMemoryStore(),
            caches=(),
            origin=Tier(name="origin", store=InMemoryOrigin(), timeout=1.0),
        )
        store.hold(USER, replace(entry_of_8_kib(), synced_at=time.time()))
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(await microseconds(lambda: store.read(USER), number=_NUMBER))
            theirs.append(await microseconds(yardstick, number=_NUMBER))
    return result(name, median(ours), median(theirs))


BENCHMARKS = [hot_read_beside_a_dict, hot_read_beside_async_lru]
