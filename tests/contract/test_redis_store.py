import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import redis.asyncio as redis

from edgememory.errors import ConfigError, CorruptEntryError
from edgememory.keys import entry_key
from edgememory.lab.servers import RedisServer
from edgememory.models import UserKey
from edgememory.store import CacheStore
from edgememory.stores.redis import RedisStore
from edgememory.testing.cache_contract import KEEP, StoredCacheContract
from edgememory.testing.examples import entry_at


class TestRedisStore(StoredCacheContract):
    @pytest.fixture
    async def raw(self, redis_server: RedisServer) -> AsyncIterator[redis.Redis]:
        async with redis.Redis.from_url(redis_server.url) as self._raw:
            yield self._raw

    @pytest.fixture
    async def store(self, redis_server: RedisServer, raw: redis.Redis) -> AsyncIterator[CacheStore]:
        self._url = redis_server.url
        yield (store := await self.reopen())
        await store.aclose()

    async def reopen(self) -> RedisStore:
        return RedisStore(self._url)

    async def raw_get(self, key: str) -> bytes | None:
        return await self._raw.get(key)

    async def raw_set(self, key: str, value: bytes) -> None:
        await self._raw.set(key, value)

    async def raw_ttl(self, user: UserKey) -> float:
        return await self._raw.pttl(entry_key(user)) / 1000

    async def test_a_value_begins_with_its_order(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, entry_at(7, tentative_at=2.000001, synced_at=1.5), keep=KEEP)
        value = await self.raw_get(entry_key(user))
        assert value is not None
        assert value.startswith(b'7.2000001.1500000\n{"format":1,')

    @pytest.mark.parametrize("line", [b"", b"7.0.0", b"8.0.1500000\n", b"07.0.1500000\n"])
    async def test_a_value_without_its_own_order_line_is_corrupt(
        self, store: CacheStore, user: UserKey, line: bytes
    ) -> None:
        await store.put(user, entry_at(7, synced_at=1.5), keep=KEEP)
        value = await self.raw_get(entry_key(user))
        assert value is not None
        await self.raw_set(entry_key(user), value.replace(b"7.0.1500000\n", line))
        with pytest.raises(CorruptEntryError):
            await store.get(user)

    async def test_every_call_is_one_round_trip(self, store: CacheStore, raw: redis.Redis, user: UserKey) -> None:
        await store.put(user, entry_at(1), keep=KEEP)
        for call in (
            store.get(user),
            store.get_many([user, UserKey("contract", "nobody")]),
            store.put(user, entry_at(2), keep=KEEP),
            store.put(user, entry_at(1), keep=KEEP),
        ):
            before = await commands_read(raw)
            await call
            assert await commands_read(raw) - before == 2, "the call's own, and this INFO"

    async def test_connecting_tells_the_server_nothing(
        self, redis_server: RedisServer, raw: redis.Redis, user: UserKey
    ) -> None:
        before = await said_of_clients(raw)
        fresh = RedisStore(redis_server.url)
        await fresh.get(user)
        await fresh.aclose()
        assert await said_of_clients(raw) == before


async def said_of_clients(client: redis.Redis) -> int:
    stats = await client.info("commandstats")
    return sum(stat["calls"] for name, stat in stats.items() if name.startswith(("cmdstat_client", "cmdstat_hello")))


async def commands_read(client: redis.Redis) -> int:
    """Count the commands that came over the network, those of scripts excluded."""
    stats = await client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in CLIENT_COMMANDS)


CLIENT_COMMANDS = ("get", "mget", "eval", "evalsha", "script", "script|load", "ping", "auth", "hello", "info")


class TestRedisStoreWithAClientOfTheCallers(TestRedisStore):
    """With redis-py's own defaults: another pool, RESP3, other retries."""

    @pytest.fixture
    async def store(self, redis_server: RedisServer, raw: redis.Redis) -> AsyncIterator[CacheStore]:
        async with redis.Redis.from_url(redis_server.url) as self._client:
            yield await self.reopen()

    async def reopen(self) -> RedisStore:
        return RedisStore(self._client)


@pytest.mark.anyio
async def test_a_given_client_is_never_closed(redis_server: RedisServer) -> None:
    async with redis.Redis.from_url(redis_server.url) as client:
        connection_id = await client.client_id()
        store = RedisStore(client)
        await store.warm()
        await store.aclose()
        del store
        gc.collect()
        assert await client.client_id() == connection_id


@pytest.mark.anyio
async def test_a_store_of_its_own_client_closes_it(own_redis_server: RedisServer) -> None:
    store = RedisStore(own_redis_server.url)
    await store.warm()
    async with redis.Redis.from_url(own_redis_server.url) as raw:
        assert len(await raw.client_list()) == 2
        await store.aclose()
        with anyio.fail_after(10):
            while len(await raw.client_list()) > 1:
                """The server learns of it in its own time."""


@pytest.mark.anyio
async def test_a_warm_store_has_its_connection(own_redis_server: RedisServer) -> None:
    async with redis.Redis.from_url(own_redis_server.url) as raw:
        before = (await raw.info("stats"))["total_connections_received"]
        store = RedisStore(own_redis_server.url)
        await store.warm()
        await store.get(UserKey("contract", "ann"))
        assert (await raw.info("stats"))["total_connections_received"] == before + 1
        await store.aclose()


@pytest.mark.parametrize("given", ["client", "url"])
def test_a_client_that_decodes_is_refused(given: str) -> None:
    url = "redis://127.0.0.1:1?decode_responses=true"
    with pytest.raises(ConfigError, match="decode_responses"):
        RedisStore(url if given == "url" else redis.Redis(decode_responses=True))


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://127.0.0.1:port"])
def test_what_is_no_redis_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        RedisStore(url)


async def test_an_option_that_redis_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"not a Redis URL: .*no_such_option"):
        RedisStore("redis://127.0.0.1?no_such_option=1")


async def test_a_unix_socket_leads_to_redis_too(redis_server: RedisServer, tmp_path: Path) -> None:
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection("127.0.0.1", redis_server.port)
        await asyncio.gather(forward(reader, here), forward(there, writer))

    user = UserKey("contract", "by socket")
    async with await asyncio.start_unix_server(connected, tmp_path / "redis.sock"):
        store = RedisStore(f"unix://{tmp_path}/redis.sock")
        assert await store.put(user, entry_at(7), keep=KEEP)
        assert await store.get(user) == entry_at(7)
        await store.aclose()
