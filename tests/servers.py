"""Fixtures of real servers. They start with the first test that needs them and end with the run, however it ends."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import uuid4

import pytest

from edgememory.lab.servers import PostgresServer, RedisServer

__all__ = ["database", "own_postgres_server", "own_redis_server", "postgres_server", "redis_server", "redis_url"]


Server = TypeVar("Server", PostgresServer, RedisServer)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests: never stop it, take `own_postgres_server` for that."""
    with running(PostgresServer()) as server:
        yield server


@pytest.fixture
def database(postgres_server: PostgresServer) -> Iterator[str]:
    """The dsn of a new, empty database."""
    name = f"test_{uuid4().hex}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests: never stop it, take `own_redis_server` for that."""
    with running(RedisServer()) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The url of the shared Redis, emptied."""
    with socket.create_connection(("127.0.0.1", redis_server.port)) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(64) == b"+OK\r\n"
    return redis_server.url


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A server that the test may stop, restart and kill."""
    with running(PostgresServer()) as server:
        yield server


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A server that the test may stop, restart and kill."""
    with running(RedisServer()) as server:
        yield server
