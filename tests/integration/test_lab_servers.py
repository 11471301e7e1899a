"""The servers that tests and the lab rely on: they stop, come back, and never outlive the process that started them."""

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import redis

from edgememory.lab.servers import PostgresServer, RedisServer, StopMode, postgres_server, redis_server

PARENT = """
import sys
from edgememory.lab.servers import {server}
server = {server}()
server.start()
print(server.port, flush=True)
sys.stdin.read()
"""


def test_a_restarted_redis_is_empty_and_on_its_old_port(own_redis_server: RedisServer) -> None:
    port, pid = own_redis_server.port, own_redis_server.pid
    with redis.Redis.from_url(own_redis_server.url) as client:
        client.set("key", "value")
        own_redis_server.restart()
        assert client.get("key") is None
    assert own_redis_server.port == port
    assert own_redis_server.pid != pid


def test_a_stopped_redis_refuses_connections_until_its_restart(own_redis_server: RedisServer) -> None:
    own_redis_server.stop()
    own_redis_server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own_redis_server.port))
    own_redis_server.restart()
    with redis.Redis.from_url(own_redis_server.url) as client:
        assert client.ping()


def fill(client: redis.Redis) -> None:
    for key in range(1_000):
        client.set(str(key), b"x" * 8_192)


async def test_a_redis_with_maxmemory_becomes_full() -> None:
    async with redis_server(settings={"maxmemory": "2mb"}) as server:
        with redis.Redis.from_url(server.url) as client, pytest.raises(redis.exceptions.OutOfMemoryError):
            fill(client)


@pytest.mark.parametrize("kind", [RedisServer, PostgresServer])
def test_a_server_that_hangs_can_still_be_closed(kind: type[RedisServer | PostgresServer]) -> None:
    server = kind()
    server.start()
    os.kill(server.pid, signal.SIGSTOP)
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
async def test_a_restarted_postgres_keeps_its_data_and_its_port(
    own_postgres_server: PostgresServer, mode: StopMode
) -> None:
    before = await asyncpg.connect(own_postgres_server.dsn)
    await before.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await asyncio.to_thread(own_postgres_server.restart, mode)
    assert before.is_closed()
    after = await asyncpg.connect(own_postgres_server.dsn)
    assert await after.fetchval("SELECT answer FROM kept") == 42
    await after.close()


async def test_a_test_gets_an_empty_database_of_its_own(postgres_server: PostgresServer, database: str) -> None:
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.execute("CREATE TABLE used ()")
    await connection.close()
    copy = postgres_server.create_database("copy", template=database.rpartition("/")[2])
    connection = await asyncpg.connect(copy)
    assert await connection.fetchval("SELECT count(*) FROM used") == 0
    postgres_server.drop_database("copy")  # also while it is in use
    connection.terminate()


async def test_a_lab_server_takes_settings() -> None:
    async with postgres_server(settings={"max_connections": "22"}) as server:
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("SHOW max_connections") == "22"
        await connection.close()


@pytest.fixture
def temporary() -> Iterator[Path]:
    # Not tmp_path: as root, Postgres runs as another user, and pytest closes its folders to others.
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_server_that_does_not_start_leaves_no_folder(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    server = PostgresServer(settings={"no_such_setting": "1"})
    with pytest.raises(RuntimeError, match="no_such_setting"):
        server.start()
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("server", ["RedisServer", "PostgresServer"])
def test_no_server_and_no_folder_outlives_a_killed_parent(temporary: Path, server: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(server=server)],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    port = int(parent.stdout.readline())
    with next(temporary.glob("edgememory-*/server")).open() as running:
        parent.kill()
        parent.communicate()
        fcntl.flock(running, fcntl.LOCK_SH)  # free when the server and its supervisor are gone
    assert not list(temporary.iterdir())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
