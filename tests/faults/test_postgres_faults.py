import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
import anyio.abc
import asyncpg
import pytest
from anyio import CancelScope, create_task_group, to_thread

from edgememory.errors import StoreBlockedError, StoreRejectedError, StoreUnavailableError
from edgememory.lab.servers import PostgresServer
from edgememory.models import UserKey
from edgememory.stores.postgres import PostgresPrimary, migrate
from edgememory.testing.talk import Talk
from tests.proxy import proxy_to
from tests.raw_postgres import plain_role, raw_connection, raw_state

pytestmark = pytest.mark.anyio

ANN, BOB = UserKey("faults", "ann"), UserKey("faults", "bob")
CALLS: dict[str, Callable[[PostgresPrimary], Awaitable[object]]] = {
    "get": lambda primary: primary.get(ANN),
    "commit": lambda primary: primary.commit(ANN, []),
    "delete": lambda primary: primary.delete(ANN),
    "get_messages": lambda primary: primary.get_messages(ANN),
    "warm": lambda primary: primary.warm(),
}


@asynccontextmanager
async def primary_on(dsn: str) -> AsyncIterator[PostgresPrimary]:
    primary = PostgresPrimary(dsn)
    try:
        yield primary
    finally:
        await primary.aclose()


@pytest.fixture
async def primary(migrated_database: str) -> AsyncIterator[PostgresPrimary]:
    async with primary_on(migrated_database) as primary:
        yield primary


@pytest.fixture
async def raw(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with raw_connection(migrated_database) as raw:
        yield raw


@pytest.mark.parametrize("call", CALLS)
async def test_a_wrong_password_is_blocked_and_not_told(
    raw: asyncpg.Connection, migrated_database: str, call: str
) -> None:
    async with AsyncExitStack() as stack:
        _, dsn = await stack.enter_async_context(plain_role(raw, migrated_database))
        primary = await stack.enter_async_context(primary_on(dsn.replace("secret", "hunter2")))
        with pytest.raises(StoreBlockedError, match="password authentication failed") as caught:
            await CALLS[call](primary)
    assert caught.value.operation == call
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("call", CALLS)
async def test_a_database_without_the_schema_says_what_to_run(database: str, call: str) -> None:
    async with primary_on(database) as primary:
        with pytest.raises(StoreBlockedError, match="run `edgememory migrate`"):
            await CALLS[call](primary)
        await migrate(database)
        await CALLS[call](primary)


async def test_an_older_schema_says_what_to_run(raw: asyncpg.Connection, primary: PostgresPrimary) -> None:
    await raw.execute("DROP FUNCTION edgememory.get_messages")
    with pytest.raises(StoreBlockedError, match="run `edgememory migrate`"):
        await primary.get_messages(ANN)


async def test_a_database_that_is_not_there_is_blocked(migrated_database: str) -> None:
    async with primary_on(migrated_database + "x") as primary:
        with pytest.raises(StoreBlockedError, match="does not exist"):
            await primary.get(ANN)


@pytest.mark.parametrize("dsn", ["nonsense", "postgresql://h:port/x", "postgresql://h/x?sslmode=nonsense"])
async def test_a_dsn_that_is_none_is_blocked(dsn: str) -> None:
    async with primary_on(dsn) as primary:
        with pytest.raises(StoreBlockedError):
            await primary.get(ANN)


async def test_a_role_without_rights_is_blocked(raw: asyncpg.Connection, migrated_database: str) -> None:
    async with plain_role(raw, migrated_database) as (_, dsn), primary_on(dsn) as primary:
        with pytest.raises(StoreBlockedError, match="permission denied"):
            await primary.get(ANN)


async def test_a_read_only_server_reads_and_says_what_it_is(raw: asyncpg.Connection, migrated_database: str) -> None:
    name = migrated_database.rpartition("/")[2]
    await raw.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with primary_on(migrated_database) as primary:
        assert not (await primary.get(ANN)).snapshot.exists
        with pytest.raises(StoreBlockedError, match="the server is read-only"):
            await primary.commit(ANN, [])
        await raw.execute("SET default_transaction_read_only = off")
        await raw.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        assert (await primary.commit(ANN, [])).entry.snapshot.version == 1, "on a new connection"


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
async def test_a_timeout_of_the_servers_is_unavailable(
    raw: asyncpg.Connection, migrated_database: str, setting: str
) -> None:
    async with primary_on(f"{migrated_database}?{setting}=1s") as primary:
        async with raw.transaction():
            await raw.execute("SELECT edgememory.lock_user($1, $2)", ANN.namespace, ANN.user_id)
            with pytest.raises(StoreUnavailableError, match="timeout"):
                await primary.commit(ANN, [])
        await primary.commit(ANN, [])


async def test_what_postgres_cannot_hold_is_rejected(primary: PostgresPrimary) -> None:
    with pytest.raises(StoreRejectedError):
        await primary.get(UserKey("faults", "a\0b"))
    assert (await primary.commit(BOB, [])).entry.snapshot.version == 1


@pytest.mark.parametrize("kept", [True, False])
async def test_a_commit_whose_answer_is_lost_may_be_repeated(
    postgres_server: PostgresServer, raw: asyncpg.Connection, migrated_database: str, kept: bool
) -> None:
    """On a kept connection the store repeats it itself: the connection may have been dead before."""
    changes = [Talk().says("hello"), Talk().remembers("Has a dog")]
    async with proxy_to(postgres_server.port) as proxy, primary_on(proxy.dsn(migrated_database)) as primary:
        await primary.warm()
        if kept:
            await primary.get(ANN)
        proxy.lose_answer = 2  # the first says that the statement is prepared
        if not kept:
            with pytest.raises(StoreUnavailableError):
                await primary.commit(ANN, changes)
            assert (await raw_state(raw, ANN)).version == 1, "it had arrived"
        committed = await primary.commit(ANN, changes)
        assert committed.entry.snapshot.version == 2
        assert [message.text for message in committed.entry.snapshot.messages] == ["hello"]
        assert [fact.text for fact in committed.entry.snapshot.facts] == ["Has a dog"]


async def test_connections_that_died_silently_fail_no_call(
    postgres_server: PostgresServer, raw: asyncpg.Connection, migrated_database: str
) -> None:
    async with proxy_to(postgres_server.port) as proxy, primary_on(proxy.dsn(migrated_database)) as primary:
        async with create_task_group() as group, raw.transaction():
            await raw.execute("SELECT edgememory.lock_user($1, $2)", ANN.namespace, ANN.user_id)
            group.start_soon(primary.commit, ANN, [])
            await waits_for_a_lock(migrated_database)
            await primary.get(BOB)
        assert proxy.connections == 2
        proxy.forget()
        assert (await primary.commit(ANN, [])).entry.snapshot.version == 2
        assert proxy.connections == 3


@asynccontextmanager
async def primary_on_own(server: PostgresServer) -> AsyncIterator[PostgresPrimary]:
    await migrate(server.dsn)
    async with primary_on(server.dsn) as primary:
        yield primary


async def test_a_server_that_is_away_is_unavailable_until_it_is_back(own_postgres_server: PostgresServer) -> None:
    async with primary_on_own(own_postgres_server) as primary:
        await primary.commit(ANN, [Talk().says("hello")])
        await to_thread.run_sync(own_postgres_server.stop)
        for call in CALLS.values():
            with pytest.raises(StoreUnavailableError):
                await call(primary)
        await to_thread.run_sync(own_postgres_server.restart)
        assert len((await primary.get(ANN)).snapshot.messages) == 1


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
async def test_a_restart_between_two_calls_is_not_noticed(own_postgres_server: PostgresServer, mode: str) -> None:
    async with primary_on_own(own_postgres_server) as primary:
        async with create_task_group() as group:  # so that both connections are open
            group.start_soon(primary.commit, ANN, [])
            group.start_soon(primary.commit, BOB, [])
        await to_thread.run_sync(own_postgres_server.restart, mode)
        assert (await primary.commit(ANN, [])).entry.snapshot.version >= 1
        assert (await primary.get(BOB)).snapshot.version >= 0


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
async def test_a_restart_in_mid_commit_loses_and_doubles_nothing(
    own_postgres_server: PostgresServer, mode: str
) -> None:
    changes = [Talk().says("hello"), Talk().remembers("Has a dog")]
    taken: list[int] = []

    async def commit() -> None:
        # A server that stops may end the other's lock before this one's connection.
        with suppress(StoreUnavailableError):
            taken.append((await primary.commit(ANN, changes)).entry.snapshot.version)

    async with primary_on_own(own_postgres_server) as primary:
        await primary.warm()
        async with create_task_group() as group:
            blocker = await asyncpg.connect(own_postgres_server.dsn)
            await blocker.execute("BEGIN; SELECT edgememory.lock_user('faults', 'ann')")
            group.start_soon(commit)
            await waits_for_a_lock(own_postgres_server.dsn)
            await to_thread.run_sync(own_postgres_server.stop, mode)
        blocker.terminate()
        await to_thread.run_sync(own_postgres_server.restart)
        for version in (1, 2):
            committed = await primary.commit(ANN, changes)
            assert committed.entry.snapshot.version == len(taken) + version
            assert [message.text for message in committed.entry.snapshot.messages] == ["hello"]


async def waits_for_a_lock(dsn: str) -> None:
    async with raw_connection(dsn) as raw:
        while not await raw.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def test_forty_processes_share_a_server_for_twenty() -> None:
    """Each stays, as in a call, until all have read and committed: who has no use for a connection must let it go."""
    server = PostgresServer(settings={"max_connections": "20"})
    try:
        await to_thread.run_sync(server.start)
        await migrate(server.dsn)
        async with raw_connection(server.dsn) as raw, plain_role(raw, server.dsn) as (name, dsn):
            await raw.execute(f"GRANT USAGE ON SCHEMA edgememory TO {name}")
            await raw.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA edgememory TO {name}")
            async with AsyncExitStack() as stack, create_task_group() as group:
                for number in range(40):
                    command = [sys.executable, "-m", "tests.faults.origin_process", dsn, f"user {number}"]
                    process = await stack.enter_async_context(await anyio.open_process(command, stderr=None))
                    stack.callback(process.terminate)
                    group.start_soon(says_done, process)
            assert await raw.fetchval("SELECT count(*) FROM edgememory.messages") == 40
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(server.close)


async def says_done(process: anyio.abc.Process) -> None:
    assert process.stdout is not None
    assert await process.stdout.receive() == b"done\n"
