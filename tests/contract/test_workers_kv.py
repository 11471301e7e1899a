"""The store of Workers KV on the real Worker, on workerd."""

from collections.abc import AsyncIterator

import httpx
import pytest
from anyio.to_thread import run_sync

from edgememory import codec
from edgememory.keys import entry_key
from edgememory.models import UserKey
from edgememory.store import CacheStore
from edgememory.stores.workers_kv import WorkersKVStore
from edgememory.testing.cache_contract import KEEP, EventualCacheContract, StoredCacheContract
from edgememory.testing.examples import entry_at, tombstone_at
from tests.worker.server import READ_TOKEN, TOKEN, WorkerServer


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestWorkersKVStore(EventualCacheContract, StoredCacheContract):
    @pytest.fixture
    async def store(self, worker: WorkerServer) -> AsyncIterator[CacheStore]:
        self.worker = worker
        yield (store := await self.reopen())
        await store.aclose()

    async def reopen(self) -> WorkersKVStore:
        return WorkersKVStore(self.worker.url, TOKEN, key_secret=None)

    async def spread(self, store: CacheStore, user: UserKey) -> None:
        key = entry_key(user)
        newest = await store.get(user)
        assert newest is not None
        if (held := self.worker.in_kv(key)) is None or codec.decode(held) != newest:
            await run_sync(self.worker.ring, key)

    async def hold_back(self, user: UserKey) -> None:
        self.worker.break_down(kvWriteFails=1)

    async def let_go(self, user: UserKey) -> None:
        self.worker.break_down()

    async def raw_get(self, key: str) -> bytes | None:
        return self.worker.raw(key)

    async def raw_set(self, key: str, value: bytes) -> None:
        self.worker.spoil(key, value)

    async def raw_ttl(self, user: UserKey) -> float:
        return self.worker.keep_of(entry_key(user))

    async def test_many_users_are_read_in_requests_of_a_hundred(self, store: CacheStore, user: UserKey) -> None:
        asked: list[int] = []

        async def count(request: httpx.Request) -> None:
            asked.append(1)

        users = [UserKey(user.namespace, f"{user.user_id}-{number}") for number in range(250)]
        async with httpx.AsyncClient(event_hooks={"request": [count]}) as client:
            counted = WorkersKVStore(self.worker.url, TOKEN, key_secret=None, client=client)
            assert await counted.get_many(users) == {}
            assert len(asked) == 3
            there = {users[number]: entry_at(number + 1) for number in (0, 99, 100, 249)}
            for each, entry in there.items():
                await store.put(each, entry, keep=KEEP)
                self.worker.ring(entry_key(each))
            assert await counted.get_many(users) == there
            assert await counted.get_many([]) == {}
        assert len(asked) == 6

    async def test_a_tombstone_is_in_kv_when_it_was_put(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, entry_at(5, text="secret"), keep=KEEP)
        assert await store.put(user, tombstone_at(6), keep=KEEP)
        assert codec.decode(self.worker.in_kv(entry_key(user)) or "") == tombstone_at(6)

    async def test_with_a_secret_no_user_stands_in_a_key(self, store: CacheStore, user: UserKey) -> None:
        ours = WorkersKVStore(self.worker.url, TOKEN, key_secret="ours")
        assert await ours.put(user, entry_at(5), keep=KEEP)
        assert (await ours.get(user), await store.get(user)) == (entry_at(5), None)
        assert self.worker.raw(entry_key(user, secret="ours")) is not None
        await ours.aclose()

    async def test_a_token_for_reading_reads(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, entry_at(5), keep=KEEP)
        reader = WorkersKVStore(self.worker.url, READ_TOKEN, key_secret=None)
        await reader.warm()
        assert await reader.get(user) == entry_at(5)
        await reader.aclose()
