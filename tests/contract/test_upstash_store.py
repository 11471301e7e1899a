from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis

from edgememory.keys import entry_key
from edgememory.lab.servers import RedisServer
from edgememory.models import UserKey
from edgememory.store import CacheStore
from edgememory.stores.redis import RedisStore
from edgememory.stores.upstash import UpstashStore
from edgememory.testing.cache_contract import KEEP, StoredCacheContract
from edgememory.testing.examples import entry_at, full_entry
from tests.upstash.server import TOKEN, UpstashServer, upstash_server


@pytest.fixture(scope="module")
def server(redis_server: RedisServer) -> Iterator[UpstashServer]:
    with upstash_server(redis_server.port) as server:
        yield server


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestUpstashStore(StoredCacheContract):
    @pytest.fixture
    def raw(self, redis_server: RedisServer) -> Iterator[Redis]:
        with Redis.from_url(redis_server.url) as self._raw:
            yield self._raw

    @pytest.fixture
    async def store(self, server: UpstashServer, raw: Redis) -> AsyncIterator[CacheStore]:
        self._url = server.url
        yield (store := await self.reopen())
        await store.aclose()

    async def reopen(self) -> UpstashStore:
        return UpstashStore(self._url, TOKEN, key_secret=None)

    async def raw_get(self, key: str) -> bytes | None:
        return self._raw.get(key)

    async def raw_set(self, key: str, value: bytes) -> None:
        self._raw.set(key, value)

    async def raw_ttl(self, user: UserKey) -> float:
        return self._raw.pttl(entry_key(user)) / 1000

    async def test_a_server_that_forgot_the_script_is_told_it_again(
        self, store: CacheStore, user: UserKey, raw: Redis
    ) -> None:
        assert await store.put(user, entry_at(5), keep=KEEP)
        raw.script_flush()
        assert not await store.put(user, entry_at(4), keep=KEEP)

    async def test_many_users_are_read_in_batches(self, store: CacheStore, user: UserKey) -> None:
        users = [UserKey(user.namespace, f"{user.user_id}-{number}") for number in range(250)]
        for each in users[::10]:
            await store.put(each, full_entry(), keep=KEEP)
        assert await store.get_many(users) == dict.fromkeys(users[::10], full_entry())


@pytest.mark.anyio
async def test_it_shares_entries_with_agents_that_use_tcp(redis_server: RedisServer, server: UpstashServer) -> None:
    user = UserKey("contract", "both")
    rest, tcp = UpstashStore(server.url, TOKEN, key_secret=None), RedisStore(redis_server.url)
    assert await rest.put(user, entry_at(5), keep=KEEP)
    assert not await tcp.put(user, entry_at(4), keep=KEEP)
    assert await tcp.get(user) == entry_at(5)
    assert await tcp.put(user, entry_at(6), keep=KEEP)
    assert await rest.get(user) == entry_at(6)
    await rest.aclose()
    await tcp.aclose()


@pytest.mark.anyio
async def test_with_a_secret_no_user_stands_in_a_key(redis_server: RedisServer, server: UpstashServer) -> None:
    user = UserKey("contract", "+41791234567")
    store, stranger = (UpstashStore(server.url, TOKEN, key_secret=secret) for secret in ("ours", "another"))
    await store.put(user, entry_at(5), keep=KEEP)
    assert (await store.get(user), await store.get_many([user])) == (entry_at(5), {user: entry_at(5)})
    assert await stranger.get(user) is None
    with Redis.from_url(redis_server.url) as raw:
        assert raw.exists(entry_key(user, secret="ours"))
        assert not raw.keys("*41791234567*")
    await store.aclose()
    await stranger.aclose()
