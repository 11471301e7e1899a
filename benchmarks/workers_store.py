"""Reading an entry from Workers KV, by the Worker on workerd."""

from collections.abc import AsyncIterator
from functools import partial

import httpx

from benchmarks.measure import Result, awaited, compare
from benchmarks.people import USER, entry_of_8_kib
from edgememory.keys import entry_key
from edgememory.stores.workers_kv import WorkersKVStore
from tests.worker.client import path
from tests.worker.server import TOKEN, worker_server

_NUMBER = 30


async def measured() -> AsyncIterator[Result]:
    with worker_server() as server:
        store = WorkersKVStore(server.url, TOKEN, key_secret=None)
        await store.put(USER, entry_of_8_kib(), keep=3600)
        url = server.url + path(entry_key(USER))
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as client:

            async def plain() -> bytes:
                return (await client.get(url)).content

            yield await compare(
                "WorkersKVStore.get, 8 KiB",
                awaited(partial(store.get, USER), number=_NUMBER),
                awaited(plain, number=_NUMBER),
                beside="httpx's GET of the same address",
                unit="ms",
                ratio_at_most=1.3,
            )
        await store.aclose()
