"""What the origin costs on the wire, and what becomes of its connections."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.lowlevel
import asyncpg
import pytest
from anyio import CancelScope, create_task_group, to_thread

from edgememory.errors import StoreUnavailableError
from edgememory.lab.servers import PostgresServer
from edgememory.models import UserKey
from edgememory.stores.postgres import PostgresPrimary, migrate
from edgememory.testing.talk import Talk
from tests.proxy import Proxy, proxy_to
from tests.raw_postgres import raw_connection

pytestmark = pytest.mark.anyio

USER = UserKey("connections", "ann")


@asynccontextmanager
async def primary_on(dsn: str, *, max_connections: int = 2, idle_close: float = 60.0) -> AsyncIterator[PostgresPrimary]:
    primary = PostgresPrimary(dsn, max_connections=max_connections, idle_close=idle_close)
    try:
        yield primary
    finally:
        await primary.aclose()


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncIterator[Proxy]:
    async with proxy_to(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
async def raw(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with raw_connection(migrated_database) as raw:
        yield raw


async def connections(raw: asyncpg.Connection) -> int:
    """Count the connections to this database, but for this one."""
    await raw.execute("SELECT pg_stat_clear_snapshot()")
    return await raw.fetchval("SELECT count(*) - 1 FROM pg_stat_activity WHERE datname = current_database()")


async def number_is(raw: asyncpg.Connection, number: int) -> bool:
    return await connections(raw) == number


async def number_is_at_most(raw: asyncpg.Connection, number: int) -> bool:
    return await connections(raw) <= number


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 - nothing tells us what a server has noticed
        await anyio.sleep(0.01)


@asynccontextmanager
async def locked(raw: asyncpg.Connection) -> AsyncIterator[None]:
    """Keep the user's row to ourselves: commits wait until the block ends."""
    async with raw.transaction():
        await raw.execute("SELECT edgememory.lock_user($1, $2)", USER.namespace, USER.user_id)
        yield


async def test_a_warm_read_is_one_round_trip_and_so_is_any_other_call_from_its_second_time_on(
    migrated_database: str, proxy: Proxy
) -> None:
    async with primary_on(proxy.dsn(migrated_database)) as primary:
        await primary.warm()
        talk = Talk()
        changes = [talk.says("hello"), talk.remembers("Has a dog"), talk.prefers("language", "pt")]
        before = proxy.turns
        await primary.get(USER)
        assert proxy.turns == before + 1
        for nobody_waits_for in (
            lambda: primary.commit(USER, changes),
            lambda: primary.get_messages(USER),
            lambda: primary.delete(USER),
        ):
            await nobody_waits_for()  # prepares it
            before = proxy.turns
            await nobody_waits_for()
            assert proxy.turns == before + 1


async def test_behind_a_pooler_statements_have_no_name_and_keep_to_one_transaction(
    migrated_database: str, proxy: Proxy
) -> None:
    """PgBouncer and Hyperdrive may send each transaction to another server."""
    for pooler in (True, False):
        del proxy.sent[:]
        primary = PostgresPrimary(proxy.dsn(migrated_database), pooler=pooler)
        await primary.get(USER)
        await primary.aclose()
        assert (b"__asyncpg_stmt" in proxy.sent) == (not pooler)
        assert (proxy.sent.find(b"BEGIN") < proxy.sent.find(b"edgememory.get") < proxy.sent.find(b"COMMIT")) == pooler


async def test_a_warm_primary_has_its_connection(migrated_database: str, proxy: Proxy) -> None:
    async with primary_on(proxy.dsn(migrated_database)) as primary:
        await primary.warm()
        assert proxy.connections == 1
        await primary.get(USER)
        await primary.warm()
        assert proxy.connections == 1


async def test_who_comes_while_the_first_connection_opens_waits_for_it(migrated_database: str, proxy: Proxy) -> None:
    async with primary_on(proxy.dsn(migrated_database)) as primary, create_task_group() as group:
        proxy.open.clear()
        group.start_soon(primary.warm)
        group.start_soon(primary.get, USER)
        await proxy.connected.wait()
        await anyio.lowlevel.checkpoint()
        proxy.open.set()
    assert proxy.connections == 1


async def test_a_cancelled_caller_leaves_the_connection_to_the_next(migrated_database: str, proxy: Proxy) -> None:
    async with primary_on(proxy.dsn(migrated_database)) as primary:
        proxy.open.clear()
        async with create_task_group() as group:
            group.start_soon(primary.get, USER)
            await proxy.connected.wait()
            group.cancel_scope.cancel()
        proxy.open.set()
        await primary.get(USER)
        assert proxy.connections == 1


async def test_callers_beyond_the_connections_take_turns(migrated_database: str, raw: asyncpg.Connection) -> None:
    async with primary_on(migrated_database, max_connections=2) as primary:
        async with create_task_group() as group:
            for _ in range(50):
                group.start_soon(primary.commit, USER, [Talk().says("hello")])
        assert await connections(raw) == 2
        assert (await primary.get(USER)).snapshot.version == 50


async def test_a_slow_query_keeps_nobody_else_waiting(migrated_database: str, raw: asyncpg.Connection) -> None:
    async with primary_on(migrated_database) as primary, create_task_group() as group, locked(raw):
        group.start_soon(primary.commit, USER, [])
        await primary.get(USER)


async def test_while_others_are_at_work_an_idle_connection_stays_at_hand(
    migrated_database: str, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking whether the server is crowded takes a connection away for a round trip."""
    monkeypatch.setattr("edgememory.stores.postgres.connections._FIRST_LOOK", (0.001, 0.001))

    async def has_asked() -> bool:
        await raw.execute("SELECT pg_stat_clear_snapshot()")
        return await raw.fetchval(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE '%numbackends%' AND pid <> pg_backend_pid()"
        )

    async with primary_on(migrated_database) as primary, create_task_group() as group:
        async with locked(raw):
            group.start_soon(primary.commit, USER, [])
            await until(partial(number_is, raw, 1))
            await primary.get(USER)
            for _ in range(50):
                assert not await has_asked()
        await until(has_asked)


async def test_idle_connections_are_closed(migrated_database: str, raw: asyncpg.Connection) -> None:
    async with primary_on(migrated_database, idle_close=0.1) as primary:
        await primary.warm()
        await until(partial(number_is, raw, 0))
        assert not (await primary.get(USER)).snapshot.exists
        await until(partial(number_is, raw, 0))


async def test_idle_connections_make_room_where_the_server_has_hardly_any() -> None:
    server = PostgresServer(settings={"max_connections": "6"})
    try:
        await to_thread.run_sync(server.start)
        await migrate(server.dsn)
        async with raw_connection(server.dsn) as raw, primary_on(server.dsn, idle_close=3600) as primary:
            await primary.warm()
            async with raw_connection(server.dsn):
                await until(partial(number_is, raw, 1))
            await primary.get(USER)
            await until(partial(number_is, raw, 1))
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(server.close)


async def test_a_closed_primary_says_so_and_leaves_nothing(migrated_database: str, raw: asyncpg.Connection) -> None:
    async def fails() -> None:
        with pytest.raises(StoreUnavailableError):
            await primary.commit(USER, [])

    async with primary_on(migrated_database) as primary:
        async with locked(raw), create_task_group() as group:
            for _ in range(4):
                group.start_soon(fails)
            await until(partial(number_is, raw, 2))
            await primary.aclose()
        await fails()
        with pytest.raises(StoreUnavailableError):
            await primary.warm()
        await until(partial(number_is, raw, 0))


async def test_a_given_pool_is_never_closed(migrated_database: str) -> None:
    async with asyncpg.create_pool(migrated_database, min_size=0) as pool:
        primary = PostgresPrimary(pool)
        await primary.warm()
        await primary.get(USER)
        await primary.aclose()
        assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("is_warm", [True, False])
@pytest.mark.parametrize("call", ["get", "commit", "delete", "get_messages", "warm"])
async def test_cancelled_at_any_await_a_call_leaves_the_primary_usable(
    migrated_database: str, raw: asyncpg.Connection, call: str, is_warm: bool
) -> None:
    for turns in (0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        async with primary_on(migrated_database) as primary:
            if is_warm:
                await primary.warm()
            await cancelled_after(turns, getattr(primary, call), *CALLS[call])
            assert (await primary.get(USER)).snapshot.version >= 0
            await until(partial(number_is_at_most, raw, 2))
        await until(partial(number_is, raw, 0))


CALLS = {
    "get": (USER,),
    "commit": (USER, [Talk().says("hello")]),
    "delete": (USER,),
    "get_messages": (USER,),
    "warm": (),
}


async def cancelled_after(turns: int, call: Callable[..., Awaitable[object]], *arguments: object) -> None:
    async with create_task_group() as group:
        group.start_soon(call, *arguments)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
