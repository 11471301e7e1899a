"""A real Redis that may forget, does not say, is full, away, killed, a cache as well, and asked by many at once."""

import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest
import redis.asyncio as redis
from anyio import create_task_group, to_thread

from edgememory import ConfigError, EdgeMemory, Parts, Tier
from edgememory.errors import StoreBlockedError, StoreUnavailableError
from edgememory.lab.servers import RedisServer
from edgememory.lab.servers.redis import DURABLE
from edgememory.models import Pending, UserKey
from edgememory.outbox.redis import RedisOutbox
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.stores.redis import RedisStore
from edgememory.testing.outbox_contract import ANNA, BERT, said
from tests.proxy import proxy_to
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


async def test_what_a_full_server_holds_can_be_delivered(outbox: RedisOutbox, raw: redis.Redis) -> None:
    taken, refused = said(), said()
    await outbox.append(ANNA, [taken, refused])
    await raw.config_set("maxmemory", 1)
    with pytest.raises(StoreBlockedError, match="OOM"):
        await outbox.append(BERT, [said()])
    [claim] = await outbox.claim(lease=30, limit=1)
    await outbox.ack(claim, (), 7)
    await outbox.ack(claim, [taken.id], 8)
    await outbox.reject(claim, [refused.id], "no")
    assert await outbox.pending(ANNA) == Pending((), 8)
    assert [letter.id for letter in await outbox.dead_letters(limit=2)] == [refused.id]


async def test_a_server_that_became_a_replica_is_unavailable(outbox: RedisOutbox, raw: redis.Redis) -> None:
    await outbox.append(ANNA, [said()])
    await raw.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreUnavailableError, match="READONLY"):
        await outbox.append(ANNA, [said()])
    await raw.replicaof("NO", "ONE")
    await outbox.append(ANNA, [said()])


@pytest.mark.parametrize("user_id", ["due", "waiting", "leases", "dead"])
async def test_no_entry_on_the_same_server_stands_in_its_way(
    server: RedisServer, outbox: RedisOutbox, user_id: str
) -> None:
    await outbox.append(ANNA, [said()])
    store = RedisStore(server.url)
    for namespace in ("outbox", "1"):
        assert await store.get(UserKey(namespace, user_id)) is None
    await store.aclose()


async def test_a_lease_whose_answer_was_lost_is_given_again_to_whom_it_is(
    server: RedisServer, outbox: RedisOutbox
) -> None:
    await outbox.append(ANNA, [said()])
    assert await outbox.claim(lease=30, limit=1), "from now on the server knows the scripts"
    await outbox.append(BERT, [said()])
    async with proxy_to(server.port) as proxy, aclosing(RedisOutbox(f"redis://127.0.0.1:{proxy.port}")) as behind:
        await behind.depth()
        proxy.lose_answer = 2  # the first says whom to lease
        assert [claim.user for claim in await behind.claim(lease=30, limit=1)] == [BERT]
        assert proxy.lose_answer == 0


async def test_what_was_confirmed_survives_kills_under_load(server: RedisServer, outbox: RedisOutbox) -> None:
    users = [UserKey("clinic", f"user-{number}") for number in range(8)]
    confirmed: dict[UserKey, list[str]] = {user: [] for user in users}

    async def talk(user: UserKey) -> None:
        while True:
            change = said()
            try:
                await outbox.append(user, [change])
            except StoreUnavailableError:
                return
            confirmed[user].append(change.id)

    for _ in range(3):
        before = sum(map(len, confirmed.values()))
        async with create_task_group() as group:
            for user in users:
                group.start_soon(talk, user)
            while sum(map(len, confirmed.values())) < before + 200:
                await to_thread.run_sync(lambda: None)
            await to_thread.run_sync(server.stop)
        await to_thread.run_sync(server.restart)
        for user in users:
            kept = {change.id for change in (await outbox.pending(user)).changes}
            assert kept.issuperset(confirmed[user])


CLAIMER = """
import asyncio, sys
from edgememory.outbox.redis import RedisOutbox
async def main():
    outbox = RedisOutbox(sys.argv[1])
    while claims := await outbox.claim(lease=600, limit=50):
        print(*(claim.user.user_id for claim in claims), flush=True)
    await outbox.aclose()
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
"""


def handed_out(server: RedisServer, *, processes: int) -> Counter[str]:
    """Let processes claim at once until nothing is left, and return how often each user was handed out."""
    command = [sys.executable, "-c", CLAIMER, server.url]
    pipe = subprocess.PIPE
    claimers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(processes)]
    for claimer in claimers:
        assert claimer.stdout is not None
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin is not None
        print("go", file=claimer.stdin, flush=True)
    told = [claimer.communicate()[0].split() for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0] * processes
    return Counter(user for users in told for user in users)


async def test_processes_that_claim_at_once_are_handed_each_user_once(server: RedisServer, outbox: RedisOutbox) -> None:
    users = [f"user-{number}" for number in range(500)]
    for user in users:
        await outbox.append(UserKey("clinic", user), [said()])
    assert await to_thread.run_sync(lambda: handed_out(server, processes=4)) == Counter(users)
