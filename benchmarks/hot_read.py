"""Reading a user's memory from process memory."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from async_lru import alru_cache

from benchmarks.measure import Result, awaited, called, compare
from benchmarks.people import USER, entry_of_8_kib
from edgememory.background import Background
from edgememory.models import UserKey
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.telemetry import Counters
from edgememory.tier import OriginTier, Tier
from edgememory.tiered import TieredStore

_NUMBER = 20_000


@asynccontextmanager
async def tiered_store(near: InMemoryStore) -> AsyncGenerator[TieredStore]:
    """Process memory, which holds one user, before an origin in process memory."""
    origin: OriginTier = Tier(name="origin", store=InMemoryOrigin(), timeout=1.0)
    async with Background(Counters()) as background:
        store = TieredStore(background=background, near=near, caches=(), origin=origin)
        store.hold(USER, entry_of_8_kib(synced_at=time.time()))
        yield store


async def measured() -> AsyncIterator[Result]:
    plain = {"user-42": "an entry"}

    async def looked_up(key: str) -> str:
        return plain[key]

    @alru_cache(ttl=3600)
    async def cached(key: str) -> str:
        return key

    near = InMemoryStore()
    async with tiered_store(near) as store:
        read = awaited(partial(store.read, USER), number=_NUMBER)
        yield await compare(
            "TieredStore.read, hot",
            read,
            awaited(partial(looked_up, "user-42"), number=_NUMBER),
            beside="async def with a dict",
            unit="µs",
            ratio_at_most=4.0,
        )
        yield await compare(
            "TieredStore.read, hot",
            read,
            awaited(partial(cached, "user-42"), number=_NUMBER),
            beside="@alru_cache(ttl=3600)",
            unit="µs",
            ratio_at_most=round(1 / 1.3, 2),
            note="at least 1.3 times as fast",
        )
    users = [UserKey("default", f"user-{n}") for n in range(1000)]
    for user in users:
        near.hold(user, entry_of_8_kib(), keep=3600)
    some = users[500]
    yield await compare(
        "InMemoryStore.peek, of 1,000 users",
        called(partial(near.peek, some), number=_NUMBER),
        called(partial(dict.fromkeys(users, 1).get, some), number=_NUMBER),
        beside="dict.get",
        unit="µs",
    )
