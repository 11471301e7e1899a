"""How far away a Postgres is, measured without logging in."""

import asyncio
import ssl
import struct
from contextlib import suppress
from time import perf_counter
from urllib.parse import parse_qs, unquote, urlsplit

_PORT = "5432"
# "Do you speak TLS?": eight bytes, before any login. Every server and every pooler answers with one byte.
# https://www.postgresql.org/docs/current/protocol-message-formats.html (SSLRequest)
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_YES = b"S"
_ANY_CERTIFICATE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_ANY_CERTIFICATE.check_hostname = False
_ANY_CERTIFICATE.verify_mode = ssl.CERT_NONE  # nothing is said over it


def address_of(dsn: str) -> tuple[str, int] | None:
    """Return the host and port that are tried first; `None` where that is a socket of this host."""
    try:
        parts = urlsplit(dsn)
        asked = parse_qs(parts.query)
        hosts = parts.netloc.rpartition("@")[2] or asked.get("host", [""])[0]
        first = urlsplit("//" + hosts.partition(",")[0])
        host, port = unquote(first.hostname or ""), first.port or int(asked.get("port", [_PORT])[0].partition(",")[0])
    except ValueError:
        return None  # asyncpg says what is wrong with it, when it is asked to connect
    return None if not host or host.startswith("/") else (host, port)


async def round_trip(host: str, port: int) -> float:
    """Connect, and return how long one question and its answer take, in seconds.

    Raises:
        OSError: nobody listens there, or what listens is no Postgres.
    """
    reader, writer = await asyncio.open_connection(host, port)
    try:
        started = perf_counter()
        writer.write(_SSL_REQUEST)
        answer = await reader.read(1)
        took = perf_counter() - started
        if not answer:
            raise ConnectionResetError(f"{host}:{port} does not answer as a Postgres does")
        if answer == _YES:
            # Who leaves before the handshake that it asked for has a line in the server's log: "EOF detected" (run).
            with suppress(OSError):
                await writer.start_tls(_ANY_CERTIFICATE)
        return took
    finally:
        writer.close()
