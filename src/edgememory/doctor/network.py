"""The way to a server, before anything is said to it."""

import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import anyio
from msgspec import Struct

_PORTS: Mapping[str, int] = {
    "http": 80,
    "https": 443,
    "redis": 6379,
    "rediss": 6379,
    "postgres": 5432,
    "postgresql": 5432,
}
_TLS = frozenset(("https", "rediss"))


class Place(Struct, frozen=True):
    """Where a server is reached."""

    host: str
    port: int
    tls: bool
    """From the first byte on. Postgres speaks about it first."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def place_of(url: str) -> Place | None:
    """Return where *url* leads; `None` where that is no network, as for a socket in a folder."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.scheme not in _PORTS:
        return None
    return Place(parts.hostname, parts.port or _PORTS[parts.scheme], parts.scheme in _TLS)


async def resolve(place: Place) -> None:
    """Look the host up.

    Raises:
        OSError: it has no address.
    """
    try:
        await anyio.getaddrinfo(place.host, place.port)
    except OSError as error:
        raise OSError(
            f"{place.host} has no address ({error}): is it spelt right, and known where this runs?"
        ) from error


async def connect(place: Place) -> None:
    """Open a connection, and close it.

    Raises:
        OSError: nobody listens there, or something between lets nobody through.
    """
    try:
        stream = await anyio.connect_tcp(place.host, place.port)
    except OSError as error:
        raise OSError(
            f"nobody answers at {place} ({error}): is it running, and does a firewall let this in?"
        ) from error
    await stream.aclose()


async def shake_hands(place: Place) -> None:
    """Open a connection with TLS, and close it.

    Raises:
        OSError: the certificate is not one of that host, or what answers does not speak TLS.
    """
    try:
        stream = await anyio.connect_tcp(place.host, place.port, tls=True, tls_standard_compatible=False)
    except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise OSError(
            f"{place} does not prove with TLS who it is ({error}): is the certificate that host's?"
        ) from error
    await stream.aclose()
