"""Reading an entry from Redis."""

from collections.abc import AsyncIterator
from functools import partial
from typing import cast

import msgspec
import redis.asyncio as redis
from msgspec import Struct

from benchmarks.measure import Result, awaited, compare
from benchmarks.people import USER, entry_of_8_kib
from edgememory import codec
from edgememory.lab.servers import redis_server
from edgememory.models import Snapshot
from edgememory.stores.redis import RedisStore

_NUMBER = 100


class Document(Struct):
    """An entry as plain code would decode it."""

    format: int
    synced_at: float
    snapshot: Snapshot


async def measured() -> AsyncIterator[Result]:
    async with redis_server() as server:
        store, client = RedisStore(server.url), redis.Redis.from_url(server.url)
        entry = entry_of_8_kib()
        await store.put(USER, entry, keep=3600)
        await client.set("plain", codec.encode(entry))
        decode = msgspec.json.Decoder(Document).decode

        async def plain() -> Document:
            return decode(cast(bytes, await client.get("plain")))

        yield await compare(
            "RedisStore.get, 8 KiB",
            awaited(partial(store.get, USER), number=_NUMBER),
            awaited(plain, number=_NUMBER),
            beside="redis-py's GET and msgspec's decoding",
            unit="µs",
            ratio_at_most=1.5,
        )
        await store.aclose()
        await client.aclose()
