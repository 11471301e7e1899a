"""What every store over HTTP needs: kept-alive connections, and errors that are ours."""

import ssl
from collections.abc import AsyncIterator, Mapping
from functools import cache

try:
    import httpx
except ImportError as error:
    raise ImportError(f"HTTP needs httpx ({error}): pip install edgememory") from error

import anyio

from edgememory.errors import (
    ConfigError,
    ErrorMap,
    StoreBlockedError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
    translated,
)

_ERRORS: ErrorMap = {
    httpx.TransportError: StoreUnavailableError,
    httpx.DecodingError: StoreUnavailableError,
}
_DIED = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""What becomes of a request on a kept connection that the server has closed meanwhile."""

_GUARD = 5.0
"""Seconds for all of a request: for callers without a timeout of their own, and against an answer that drips."""
_LONGEST_ANSWER = 32 * 1024 * 1024
_NO_HEADERS: Mapping[str, str] = {}
_LIMITS = httpx.Limits(max_connections=16, max_keepalive_connections=16, keepalive_expiry=60.0)


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities, read once: that takes 20 ms, in which no other call is served."""
    return httpx.create_ssl_context()


class _Body(httpx.AsyncByteStream):
    """Bytes to send. httpx's own is an async generator, which a cancelled request leaves open: trio warns of it."""

    def __init__(self, content: bytes) -> None:
        self._left = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class Answer:
    """A status, its headers and the whole body."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class HttpClient:
    """Makes requests that may be repeated. A client passed in is used as it is, and is never closed."""

    def __init__(
        self, url: str, token: str, *, store: str, guard: float | None = None, client: httpx.AsyncClient | None = None
    ) -> None:
        """*store* is its name in errors.

        A *guard* is for servers that think before they answer: seconds for all of a request, whatever timeout a
        client passed in has of its own. httpx's default would cut them off after 5.

        Raises:
            ConfigError: *url* is no address, or *token* cannot stand in a header.
        """
        self._url = _checked(url, store)
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError(f"{store}: the token must be set, and be what the service shows, without spaces")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._store = store
        self._guard = guard
        self._timeout = httpx.USE_CLIENT_DEFAULT if guard is None else guard
        self._owned = client is None
        self._client = client or httpx.AsyncClient(timeout=_GUARD, limits=_LIMITS, verify=_trusted())

    async def send(
        self, method: str, operation: str, path: str, content: bytes = b"", headers: Mapping[str, str] = _NO_HEADERS
    ) -> Answer:
        """Send a request; once more, at once, where a kept connection turns out to be dead.

        Raises:
            StoreError: no answer, or one by which no store could answer.
        """
        guard = _GUARD if self._guard is None else self._guard
        with translated(_ERRORS, store=self._store, operation=operation), anyio.fail_after(guard):
            try:
                return await self._sent(method, operation, path, content, headers)
            except _DIED:
                return await self._sent(method, operation, path, content, headers)

    async def _sent(self, method: str, operation: str, path: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        sent = {**self._headers, **headers}
        if method != "GET":
            sent["Content-Length"] = str(len(content))
        request = self._client.build_request(method, self._url + path, headers=sent, timeout=self._timeout)
        request.stream = _Body(content)
        response = await self._client.send(request, stream=True)
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():  # to the end: httpx leaves generators open behind a break
                if len(body) <= _LONGEST_ANSWER:
                    body += chunk
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
        if len(body) > _LONGEST_ANSWER:
            why = f"it answers with more than {_LONGEST_ANSWER} bytes"
            raise StoreUnavailableError(why, store=self._store, operation=operation)
        return Answer(response.status_code, response.headers, bytes(body))

    async def aclose(self) -> None:
        if self._owned:
            await self._client.aclose()


def failure(status: int) -> type[StoreError]:
    """Say what a status of 400 and more means."""
    match status:
        case 401 | 402 | 403 | 404 | 405:
            return StoreBlockedError  # the token, the bill, or the address
        case 408 | 425 | 429:
            return StoreUnavailableError
        case _ if status >= 500:
            return StoreUnavailableError
        case _:
            return StoreRejectedError


def _checked(url: str, store: str) -> str:
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise ConfigError(f"{store}: not an address: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(f"{store}: the address must begin with https:// and name a host: not {url!r}")
    return str(parsed).rstrip("/")
