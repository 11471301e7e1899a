"""Reading an entry from Upstash, over REST."""

from collections.abc import AsyncIterator
from functools import partial

import httpx
import msgspec

from benchmarks.measure import Result, awaited, compare
from benchmarks.people import USER, entry_of_8_kib
from edgememory.keys import entry_key
from edgememory.lab.servers import redis_server
from edgememory.stores.upstash import UpstashStore
from tests.upstash.server import TOKEN, upstash_server

_NUMBER = 30


async def measured() -> AsyncIterator[Result]:
    async with redis_server() as redis:
        with upstash_server(redis.port) as server:
            store = UpstashStore(server.url, TOKEN, key_secret=None)
            await store.put(USER, entry_of_8_kib(), keep=3600)
            command = msgspec.json.encode(["GET", entry_key(USER)])
            headers = {"Authorization": f"Bearer {TOKEN}", "Upstash-Encoding": "base64"}
            async with httpx.AsyncClient() as client:

                async def plain() -> bytes:
                    return (await client.post(server.url, content=command, headers=headers)).content

                yield await compare(
                    "UpstashStore.get, 8 KiB",
                    awaited(partial(store.get, USER), number=_NUMBER),
                    awaited(plain, number=_NUMBER),
                    beside="httpx's POST of the same command",
                    unit="ms",
                    ratio_at_most=1.3,
                )
            await store.aclose()
