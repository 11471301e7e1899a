import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import redis.asyncio as redis

from edgememory.errors import StoreBlockedError, StoreError, StoreRejectedError, StoreUnavailableError
from edgememory.lab.servers import RedisServer
from edgememory.models import UserKey
from edgememory.stores.newer_wins import to_value
from edgememory.stores.redis import RedisStore
from edgememory.testing.examples import entry_at

pytestmark = pytest.mark.anyio

ANN, BOB = UserKey("faults", "ann"), UserKey("faults", "bob")
KEEP = 3600.0


@asynccontextmanager
async def store_on(url: str, *, max_connections: int = 4) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, max_connections=max_connections)
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def store(own_redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    async with store_on(own_redis_server.url) as store:
        yield store


@pytest.fixture
async def raw(own_redis_server: RedisServer) -> AsyncIterator[redis.Redis]:
    async with redis.Redis.from_url(own_redis_server.url, protocol=2) as raw:
        yield raw


async def test_a_restarted_server_has_forgotten_and_is_used_again(
    own_redis_server: RedisServer, store: RedisStore
) -> None:
    assert await store.put(ANN, entry_at(5), keep=KEEP)
    await anyio.to_thread.run_sync(own_redis_server.restart)
    assert await store.get(ANN) is None
    assert await store.put(ANN, entry_at(1), keep=KEEP)
    assert await store.get(ANN) == entry_at(1)


async def test_a_server_that_forgot_the_script_is_told_it_again(store: RedisStore, raw: redis.Redis) -> None:
    assert await store.put(ANN, entry_at(5), keep=KEEP)
    await raw.script_flush()
    assert not await store.put(ANN, entry_at(4), keep=KEEP)
    assert await store.put(ANN, entry_at(6), keep=KEEP)


async def test_a_kept_connection_that_died_costs_no_answer(store: RedisStore, raw: redis.Redis) -> None:
    assert await store.put(ANN, entry_at(5), keep=KEEP)
    await raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert await store.get(ANN) == entry_at(5)


async def test_nobody_listens(own_redis_server: RedisServer, store: RedisStore) -> None:
    await anyio.to_thread.run_sync(own_redis_server.stop)
    for call in (store.get(ANN), store.get_many([ANN]), store.put(ANN, entry_at(1), keep=KEEP), store.warm()):
        with pytest.raises(StoreUnavailableError):
            await call
    await anyio.to_thread.run_sync(own_redis_server.restart)
    assert await store.put(ANN, entry_at(1), keep=KEEP)


async def test_a_full_server_blocks_writes_and_still_reads(store: RedisStore, raw: redis.Redis) -> None:
    assert await store.put(ANN, entry_at(1), keep=KEEP)
    await raw.config_set("maxmemory", 1)
    with pytest.raises(StoreBlockedError, match="maxmemory"):
        await store.put(ANN, entry_at(2), keep=KEEP)
    assert not await store.put(ANN, entry_at(0), keep=KEEP)
    assert await store.get(ANN) == entry_at(1)
    await raw.config_set("maxmemory", 0)
    assert await store.put(ANN, entry_at(2), keep=KEEP)


async def test_a_wrong_or_missing_password_blocks(own_redis_server: RedisServer, raw: redis.Redis) -> None:
    await raw.config_set("requirepass", "right")
    for userinfo in ("", ":wrong@", "nobody:right@"):
        async with store_on(own_redis_server.url.replace("//", f"//{userinfo}")) as store:
            with pytest.raises(StoreBlockedError) as caught:
                await store.get(ANN)
            assert "right" not in str(caught.value)
    async with store_on(own_redis_server.url.replace("//", "//:right@")) as store:
        assert await store.get(ANN) is None


async def test_a_forbidden_command_blocks(own_redis_server: RedisServer, raw: redis.Redis) -> None:
    await raw.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+get", "+client")
    async with store_on(own_redis_server.url.replace("//", "//reader:secret@")) as store:
        assert await store.get(ANN) is None
        with pytest.raises(StoreBlockedError):
            await store.put(ANN, entry_at(1), keep=KEEP)


async def test_a_server_turned_replica_is_unavailable_for_writes(store: RedisStore, raw: redis.Redis) -> None:
    assert await store.put(ANN, entry_at(1), keep=KEEP)
    await raw.execute_command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreUnavailableError):
        await store.put(ANN, entry_at(2), keep=KEEP)
    assert await store.get(ANN) == entry_at(1)
    await raw.execute_command("REPLICAOF", "NO", "ONE")
    assert await store.put(ANN, entry_at(2), keep=KEEP)


@pytest.mark.parametrize("connected", [True, False])
async def test_a_hanging_server_ends_with_the_callers_patience(
    own_redis_server: RedisServer, store: RedisStore, raw: redis.Redis, connected: bool
) -> None:
    await raw.set("em:1:faults:ann", to_value(entry_at(1)))
    await raw.set("em:1:faults:bob", to_value(entry_at(2)))
    if connected:
        await store.warm()
    os.kill(own_redis_server.pid, signal.SIGSTOP)
    try:
        for _ in range(6):  # more than the pool has connections
            with anyio.move_on_after(0.02) as patience:
                await store.get(ANN)
            assert patience.cancelled_caught
    finally:
        os.kill(own_redis_server.pid, signal.SIGCONT)
    assert await store.get(BOB) == entry_at(2)
    assert await store.get(ANN) == entry_at(1)


async def test_cancelled_calls_neither_mix_up_answers_nor_use_up_the_connections(store: RedisStore) -> None:
    entries = {UserKey("faults", str(place)): entry_at(place, text="x" * 20_000) for place in range(20)}
    for user, entry in entries.items():
        await store.put(user, entry, keep=KEEP)
    dice = random.Random(1)
    answers = 0

    async def read(user: UserKey, scope: anyio.CancelScope) -> None:
        nonlocal answers
        with scope:
            assert await store.get(user) == entries[user]
            answers += 1

    async def cancel(scope: anyio.CancelScope) -> None:
        for _ in range(dice.randrange(200)):
            await anyio.lowlevel.checkpoint()
        scope.cancel()

    for _ in range(20):
        async with anyio.create_task_group() as group:
            for user in entries:
                scope = anyio.CancelScope()
                group.start_soon(read, user, scope)
                group.start_soon(cancel, scope)
    assert 0 < answers < 400, "some calls were cancelled, some were not"
    async with anyio.create_task_group() as group:
        for user in entries:
            group.start_soon(read, user, anyio.CancelScope())


class ScriptedServer:
    """Accepts the handshake, then meets each command with the next of *answers*; `None` hangs up instead."""

    def __init__(self, *answers: bytes | None) -> None:
        self._answers = iter(answers)

    async def serve(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            async for received in client:
                if b"SETINFO" in received:
                    await client.send(b"+OK\r\n" * received.count(b"SETINFO"))
                if b"\r\nGET\r\n" in received:
                    answer = next(self._answers)
                    if answer is None:
                        return
                    await client.send(answer)


@asynccontextmanager
async def scripted(*answers: bytes | None) -> AsyncIterator[RedisStore]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, ScriptedServer(*answers).serve)
        async with store_on(f"redis://127.0.0.1:{port}") as store:
            yield store
        group.cancel_scope.cancel()


async def test_a_connection_lost_in_mid_call_is_retried_once() -> None:
    value = to_value(entry_at(3))
    answer = b"$%d\r\n%b\r\n" % (len(value), value)
    async with scripted(None, answer) as store:
        assert await store.get(ANN) == entry_at(3)
    async with scripted(None, None, answer) as store:
        with pytest.raises(StoreUnavailableError):
            await store.get(ANN)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            b"-MISCONF Redis is configured to save RDB snapshots, but cannot",
            StoreBlockedError,
        ),
        (b"-NOPERM this user has no permissions", StoreBlockedError),
        (b"-MOVED 3999 127.0.0.1:6381", StoreBlockedError),
        (b"HTTP/1.1 400 Bad Request", StoreBlockedError),
        (b"-BUSY Redis is busy running a script", StoreUnavailableError),
        (b"-NOREPLICAS Not enough good replicas to write", StoreUnavailableError),
        (b"-CLUSTERDOWN The cluster is down", StoreUnavailableError),
        (b"-MASTERDOWN Link with MASTER is down", StoreUnavailableError),
        (b"-TRYAGAIN Multiple keys request during rehashing of slot", StoreUnavailableError),
        (b"-ERR max number of clients reached", StoreUnavailableError),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value", StoreRejectedError),
    ],
)
async def test_what_a_server_may_say(answer: bytes, expected: type[StoreError]) -> None:
    async with scripted(*[answer + b"\r\n"] * 2) as store:
        with pytest.raises(expected) as caught:
            await store.get(ANN)
    assert caught.value.store == "redis"
    assert caught.value.operation == "get"
    assert isinstance(caught.value.__cause__, redis.RedisError)


async def test_a_server_that_still_loads_is_unavailable() -> None:
    async with scripted(*[b"-LOADING Redis is loading the dataset in memory\r\n"] * 2) as store:
        with pytest.raises(StoreUnavailableError):
            await store.get(ANN)
