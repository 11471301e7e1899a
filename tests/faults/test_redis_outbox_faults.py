"""A real Redis that may forget, that does not say, that restarts, and that is away."""

from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as redis
from anyio import to_thread

from edgememory import ConfigError, EdgeMemory, Parts, Tier
from edgememory.errors import StoreBlockedError, StoreUnavailableError
from edgememory.lab.servers import RedisServer
from edgememory.lab.servers.redis import DURABLE
from edgememory.models import Pending
from edgememory.outbox.redis import RedisOutbox
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.testing.outbox_contract import ANNA, said
from tests.servers import running

pytestmark = pytest.mark.anyio


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running(RedisServer(settings=DURABLE)) as server:
        yield server


@pytest.fixture
async def raw(server: RedisServer) -> AsyncIterator[redis.Redis]:
    async with redis.Redis.from_url(server.url, protocol=2) as raw:
        yield raw


@pytest.fixture
async def outbox(server: RedisServer) -> AsyncIterator[RedisOutbox]:
    outbox = RedisOutbox(server.url)
    yield outbox
    await outbox.aclose()


def memory_on(url: str, *, assume_durable: bool = False) -> EdgeMemory:
    origin = Tier(name="origin", store=InMemoryOrigin(), timeout=1.0)
    return EdgeMemory(Parts(origin=origin, outbox=RedisOutbox(url, assume_durable=assume_durable)))


@pytest.mark.parametrize(
    ("setting", "value"), [("appendonly", "no"), ("appendfsync", "everysec"), ("maxmemory-policy", "allkeys-lru")]
)
async def test_an_agent_does_not_start_on_one_that_may_forget(
    server: RedisServer, raw: redis.Redis, setting: str, value: str
) -> None:
    await raw.config_set("maxmemory", "64mb")
    async with memory_on(server.url):
        pass
    await raw.config_set(setting, value)
    with pytest.raises(ConfigError, match=f"{setting} is {value}"):
        async with memory_on(server.url):
            pass


async def test_one_that_turns_out_to_forget_later_takes_nothing(outbox: RedisOutbox, raw: redis.Redis) -> None:
    await raw.config_set("appendonly", "no")
    with pytest.raises(StoreBlockedError, match="appendonly is no"):
        await outbox.append(ANNA, [said()])
    await raw.config_set("appendonly", "yes")
    await outbox.append(ANNA, [said()])


async def test_one_that_does_not_say_is_asked_for_a_word(server: RedisServer, raw: redis.Redis) -> None:
    await raw.execute_command("ACL", "SETUSER", "agent", "on", ">secret", "~*", "&*", "+@all", "-config")
    url = server.url.replace("redis://", "redis://agent:secret@")
    with pytest.raises(ConfigError, match="assume_durable = true"):
        async with memory_on(url):
            pass
    async with memory_on(url, assume_durable=True) as memory:
        async with memory.session("anna") as session:
            session.add_message("user", "hello")
        assert session.durable


async def test_where_the_command_has_another_name() -> None:
    with running(RedisServer(settings={**DURABLE, "rename-command": 'CONFIG ""'})) as server:
        outbox = RedisOutbox(server.url)
        with pytest.raises(ConfigError, match="CONFIG GET is refused"):
            await outbox.depth()
        await outbox.aclose()


async def test_what_was_appended_survives_the_server_s_kill(server: RedisServer, outbox: RedisOutbox) -> None:
    changes = tuple(said() for _ in range(3))
    await outbox.append(ANNA, changes)
    await to_thread.run_sync(server.restart)
    assert await outbox.pending(ANNA) == Pending(changes, 0)


async def test_one_that_is_away_is_unavailable_and_used_again(server: RedisServer, outbox: RedisOutbox) -> None:
    await outbox.append(ANNA, [said()])
    await to_thread.run_sync(server.stop)
    for call in (lambda: outbox.append(ANNA, [said()]), outbox.depth, lambda: outbox.claim(lease=30, limit=1)):
        with pytest.raises(StoreUnavailableError):
            await call()
    await to_thread.run_sync(server.restart)
    assert (await outbox.depth()).changes == 1


async def test_a_server_that_forgot_the_scripts_is_told_them_again(outbox: RedisOutbox, raw: redis.Redis) -> None:
    await outbox.append(ANNA, [said()])
    await raw.script_flush()
    assert len((await outbox.append(ANNA, [said()])).changes) == 2


async def test_a_full_server_is_blocked_and_has_lost_nothing(outbox: RedisOutbox, raw: redis.Redis) -> None:
    change = said()
    await outbox.append(ANNA, [change])
    await raw.config_set("maxmemory", 1)
    with pytest.raises(StoreBlockedError, match="maxmemory"):
        await outbox.append(ANNA, [said()])
    assert (await outbox.pending(ANNA)).changes == (change,)
