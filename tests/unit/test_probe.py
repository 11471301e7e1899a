"""A distance is measured without a login, and without a line in the server's log."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from edgememory.stores.postgres.probe import address_of, round_trip

pytestmark = pytest.mark.anyio

SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
HANDSHAKE = b"\x16"
"""The first byte of a TLS handshake."""

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    ("dsn", "address"),
    [
        ("postgres://geneva", ("geneva", 5432)),
        ("postgresql://agent:p%40ss@geneva.example:6432/memory?sslmode=require", ("geneva.example", 6432)),
        ("postgresql://agent@[::1]:6432/memory", ("::1", 6432)),
        ("postgresql://one:1,two:2/memory?target_session_attrs=any", ("one", 1)),
        ("postgresql:///memory?host=one,two&port=1,2", ("one", 1)),
        ("postgresql://one/memory?port=6432", ("one", 6432)),
        ("postgresql:///memory?host=/run/postgresql", None),
        ("postgresql://%2Frun%2Fpostgresql/memory", None),
        ("postgresql:///memory", None),
        ("postgresql://[::1/memory", None),
        ("postgresql://geneva:port/memory", None),
    ],
)
def test_what_is_measured_is_the_host_that_is_tried_first(dsn: str, address: tuple[str, int] | None) -> None:
    assert address_of(dsn) == address


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[tuple[str, int]]:
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()


async def test_a_server_without_tls_is_asked_once_and_left() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said = await reader.readexactly(len(SSL_REQUEST))
        writer.write(b"N")
        heard.set_result(said + await reader.read())
        writer.close()

    async with listening(answer) as address:
        assert 0 < await round_trip(*address) < 60
        assert await heard == SSL_REQUEST


async def test_a_server_with_tls_gets_the_handshake_that_it_expects() -> None:
    """Else it logs an error, once a minute for each agent."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(SSL_REQUEST))
        writer.write(b"S")
        heard.set_result(await reader.readexactly(1))
        writer.close()

    async with listening(answer) as address:
        assert 0 < await round_trip(*address) < 60, "a handshake that fails comes after the measurement"
        assert await heard == HANDSHAKE


async def test_what_closes_without_an_answer_is_no_postgres() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with listening(answer) as address:
        with pytest.raises(OSError, match=r"does not answer|reset"):
            await round_trip(*address)
