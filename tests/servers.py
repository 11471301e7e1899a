"""Fixtures of real servers. They start with the first test that needs them and end with the run, however it ends."""

import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TypeVar
from uuid import uuid4

import pytest

from edgememory.embedded import Version
from edgememory.lab.link import Link
from edgememory.lab.servers import PostgresServer, RedisServer, ReplicaServer

__all__ = [
    "database",
    "own_postgres_server",
    "own_redis_server",
    "own_replica_server",
    "postgres_of",
    "postgres_server",
    "postgres_version",
    "redis_server",
    "redis_url",
    "replica_server",
    "upstream_link",
]


Server = TypeVar("Server", PostgresServer, RedisServer, ReplicaServer)


@contextmanager
def running(server: Server) -> Generator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.close()


PostgresOf = Callable[[Version], PostgresServer]


@pytest.fixture(scope="session")
def postgres_of() -> Iterator[PostgresOf]:
    """The one server of a version, for all tests."""
    with ExitStack() as stack:
        yield cache(lambda version: stack.enter_context(running(PostgresServer(version=version))))


@pytest.fixture(scope="session")
def postgres_server(postgres_of: PostgresOf) -> PostgresServer:
    """One server for all tests: never stop it, take `own_postgres_server` for that."""
    return postgres_of(18)


@pytest.fixture
def postgres_version() -> Version:
    """Of the databases that a test uses."""
    return 18


@pytest.fixture(name="postgres_version", params=[16, 18], ids=["postgres16", "postgres18"])
def each_postgres_version(request: pytest.FixtureRequest) -> Version:
    """Imported by a module whose tests are to run on each, as far as they use a database."""
    version: Version = request.param
    return version


@pytest.fixture
def database(postgres_of: PostgresOf, postgres_version: Version) -> Iterator[str]:
    """The dsn of a new, empty database."""
    server, name = postgres_of(postgres_version), f"test_{uuid4().hex}"
    yield server.create_database(name)
    server.drop_database(name)


@pytest.fixture(scope="session")
def replica_server(postgres_server: PostgresServer) -> Iterator[ReplicaServer]:
    """A replica of `postgres_server` for all tests: only read it, and take `own_replica_server` for the rest."""
    with running(ReplicaServer(postgres_server)) as server:
        yield server


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


@pytest.fixture
def upstream_link(postgres_server: PostgresServer) -> Iterator[Link]:
    """What `own_replica_server` follows its primary over."""
    link = Link("127.0.0.1", postgres_server.port, round_trip=0.0)
    yield link
    link.close()


@pytest.fixture
def own_replica_server(postgres_server: PostgresServer, upstream_link: Link) -> Iterator[ReplicaServer]:
    """A replica of `postgres_server` that the test may delay, pause, cut off, restart and promote."""
    with running(ReplicaServer(postgres_server, upstream_port=upstream_link.port)) as server:
        yield server
