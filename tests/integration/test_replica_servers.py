"""The replica that tests and the lab rely on: it follows, lags, is cut off and promoted as a real one is."""

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest

from edgememory.embedded import Version
from edgememory.lab.link import Link
from edgememory.lab.servers import PostgresServer, ReplicaServer, StopMode, postgres_server, replica_server
from tests.raw_postgres import raw_connection

SOON = 0.2
"""Seconds in which a replica that follows would have caught up."""

PARENT = """
import sys
from edgememory.lab.servers import PostgresServer, ReplicaServer
primary = PostgresServer()
primary.start()
replica = ReplicaServer(primary)
replica.start()
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def raw(database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the primary, with a table that holds nothing."""
    async with raw_connection(database) as raw:
        await raw.execute("CREATE TABLE said (word text)")
        yield raw


@asynccontextmanager
async def reading(raw: asyncpg.Connection, replica: ReplicaServer) -> AsyncGenerator[asyncpg.Connection]:
    """Connect to the same database on the replica."""
    async with raw_connection(replica.dsn_of(await raw.fetchval("SELECT current_database()"))) as connection:
        yield connection


async def words(connection: asyncpg.Connection) -> list[str]:
    return [row["word"] for row in await connection.fetch("SELECT word FROM said")]


async def say(raw: asyncpg.Connection, word: str) -> None:
    await raw.execute("INSERT INTO said VALUES ($1)", word)


async def stays_behind(replica: ReplicaServer) -> None:
    with pytest.raises(TimeoutError, match="still 'f'"):
        await asyncio.to_thread(replica.catch_up, SOON)


async def test_a_replica_shows_what_its_primary_wrote_in_databases_made_later_too(
    raw: asyncpg.Connection, replica_server: ReplicaServer
) -> None:
    await say(raw, "hello")
    await asyncio.to_thread(replica_server.catch_up)
    async with reading(raw, replica_server) as copy:
        assert await words(copy) == ["hello"]
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await say(copy, "nothing")


@pytest.mark.parametrize("version", [16, 18])
async def test_a_replica_is_of_its_primarys_version_and_takes_its_settings(version: Version) -> None:
    # Postgres refuses to start a replica that allows fewer connections than its primary.
    async with (
        postgres_server(version=version, settings={"max_connections": "222"}) as primary,
        replica_server(primary) as replica,
        raw_connection(replica.dsn) as connection,
    ):
        assert connection.get_server_version().major == version
        assert await connection.fetchval("SHOW max_connections") == "222"
        assert await connection.fetchval("SELECT pg_is_in_recovery()")


async def test_a_replica_with_a_lag_holds_commits_back_until_the_lag_is_taken_away(
    raw: asyncpg.Connection, own_replica_server: ReplicaServer
) -> None:
    await asyncio.to_thread(own_replica_server.catch_up)
    async with reading(raw, own_replica_server) as copy:
        await asyncio.to_thread(own_replica_server.set_lag, 3600.0)
        await say(raw, "hello")
        await stays_behind(own_replica_server)
        assert await words(copy) == []
        await asyncio.to_thread(own_replica_server.set_lag, 0.0)
        await asyncio.to_thread(own_replica_server.catch_up)
        assert await words(copy) == ["hello"]


async def test_a_paused_replica_receives_and_does_not_replay(
    raw: asyncpg.Connection, own_replica_server: ReplicaServer, postgres_server: PostgresServer
) -> None:
    await asyncio.to_thread(own_replica_server.catch_up)
    async with reading(raw, own_replica_server) as copy:
        await asyncio.to_thread(own_replica_server.pause)
        await say(raw, "hello")
        received = f"SELECT pg_last_wal_receive_lsn() >= '{await asyncio.to_thread(postgres_server.written)}'"
        while not await copy.fetchval(received):
            pass
        await stays_behind(own_replica_server)
        assert await words(copy) == []
        await asyncio.to_thread(own_replica_server.resume)
        await asyncio.to_thread(own_replica_server.catch_up)
        assert await words(copy) == ["hello"]


@pytest.mark.parametrize("fault", [Link.cut, Link.hang])
async def test_a_replica_that_was_cut_off_shows_what_it_had_and_catches_up_when_healed(
    raw: asyncpg.Connection, own_replica_server: ReplicaServer, upstream_link: Link, fault: Callable[[Link], None]
) -> None:
    await say(raw, "before")
    await asyncio.to_thread(own_replica_server.catch_up)
    fault(upstream_link)
    await say(raw, "meanwhile")
    await stays_behind(own_replica_server)
    await asyncio.to_thread(own_replica_server.restart)
    async with reading(raw, own_replica_server) as copy:
        assert await words(copy) == ["before"]
        upstream_link.heal()
        await asyncio.to_thread(own_replica_server.catch_up)
        assert await words(copy) == ["before", "meanwhile"]


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
async def test_a_restarted_replica_follows_again_on_its_old_port(
    raw: asyncpg.Connection, own_replica_server: ReplicaServer, mode: StopMode
) -> None:
    port, pid = own_replica_server.port, own_replica_server.pid
    await asyncio.to_thread(own_replica_server.stop, mode)
    await say(raw, "meanwhile")
    await asyncio.to_thread(own_replica_server.restart, mode)
    await asyncio.to_thread(own_replica_server.catch_up)
    async with reading(raw, own_replica_server) as copy:
        assert await words(copy) == ["meanwhile"]
    assert own_replica_server.port == port
    assert own_replica_server.pid != pid


async def test_a_replica_follows_its_primary_again_when_that_was_restarted(
    own_postgres_server: PostgresServer,
) -> None:
    modes: list[StopMode] = ["fast", "immediate", "kill"]
    async with replica_server(own_postgres_server) as replica, raw_connection(replica.dsn) as copy:
        for mode in modes:
            await asyncio.to_thread(own_postgres_server.stop, mode)
            assert await copy.fetchval("SELECT 42") == 42
            await asyncio.to_thread(own_postgres_server.restart)
            async with raw_connection(own_postgres_server.dsn) as raw:
                await raw.execute("CREATE TABLE IF NOT EXISTS said (word text)")
                await say(raw, mode)
            await asyncio.to_thread(replica.catch_up)
        assert await words(copy) == modes


async def test_a_promoted_replica_takes_writes_and_follows_nobody(
    raw: asyncpg.Connection, own_replica_server: ReplicaServer
) -> None:
    await asyncio.to_thread(own_replica_server.catch_up)
    await asyncio.to_thread(own_replica_server.promote)
    async with reading(raw, own_replica_server) as former:
        await say(former, "here")
        await say(raw, "there")
        await stays_behind(own_replica_server)
        assert (await words(former), await words(raw)) == (["here"], ["there"])


@pytest.fixture
def temporary() -> Iterator[Path]:
    # Not tmp_path: as root, Postgres runs as another user, and pytest closes its folders to others.
    with TemporaryDirectory() as name:
        yield Path(name)


def test_no_replica_and_no_folder_outlives_a_killed_parent(temporary: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    with ExitStack() as stack:
        locks = [stack.enter_context(lock.open()) for lock in temporary.glob("edgememory-*/server")]
        assert len(locks) == 2
        parent.kill()
        parent.communicate()
        for running in locks:
            fcntl.flock(running, fcntl.LOCK_SH)  # free when the server and its supervisor are gone
    assert not list(temporary.iterdir())
