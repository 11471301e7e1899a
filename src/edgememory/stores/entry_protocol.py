"""What speaks the entry protocol, version 1, with the Worker: paths, bodies, and errors that are ours."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import Struct

from edgememory.errors import StoreBlockedError, StoreError, StoreUnavailableError
from edgememory.keys import entry_key
from edgememory.models import UserKey
from edgememory.stores.http import Answer, HttpClient, failure

if TYPE_CHECKING:
    import httpx

PROTOCOL = 1
BATCH = 100
"""Keys, users or letters of one request."""

_T = TypeVar("_T")


class Item(Struct, frozen=True):
    """A change as the Worker holds it: *body* is opaque to it."""

    id: str
    body: str


class Health(Struct, frozen=True):
    """What anybody may ask."""

    protocol: int
    location: str | None = None
    """The data centre that answered, by its airport."""


class _Error(Struct, frozen=True):
    code: str
    message: str


class _Refusal(Struct, frozen=True):
    error: _Error


_REFUSAL = msgspec.json.Decoder(_Refusal)
_HEALTH = msgspec.json.Decoder(Health)
_ENCODER = msgspec.json.Encoder()
_NO_WORKER = "what answers there is not edgememory's Worker, of protocol 1: is the address right?"


class WorkerClient:
    """Requests to one Worker. A client passed in is used as it is, and is never closed."""

    def __init__(
        self, url: str, token: str, *, key_secret: str | None, store: str, client: "httpx.AsyncClient | None"
    ) -> None:
        """*store* is its name in errors. With a *key_secret*, no user id stands in a key: see `entry_key`.

        Raises:
            ConfigError: *url* is no address, or *token* cannot stand in a header.
        """
        self._http = HttpClient(url, token, store=store, client=client)
        self._key_secret = key_secret
        self._store = store

    def key(self, user: UserKey) -> str:
        """Return the user's key, as it stands in bodies."""
        return entry_key(user, secret=self._key_secret)

    def entry_path(self, user: UserKey) -> str:
        return f"/v1/entries/{quote(self.key(user), safe='')}"

    def outbox_path(self, user: UserKey, action: str = "") -> str:
        return f"/v1/outbox/{quote(self.key(user), safe='')}{action}"

    async def ask(
        self,
        method: str,
        operation: str,
        path: str,
        *,
        body: object = None,
        content: bytes = b"",
        headers: Mapping[str, str] | None = None,
        refusals: tuple[str, ...] = (),
    ) -> tuple[Answer, str | None]:
        """Send *content*, or *body* as JSON; return the answer, and the code of a refusal that is among *refusals*.

        Raises:
            StoreError: no answer, or another refusal.
        """
        sent = content if body is None else _ENCODER.encode(body)
        answer = await self._http.send(method, operation, path, sent, headers or {})
        if answer.status < 300:
            return answer, None
        refusal = _refusal(answer)
        if refusal is not None and refusal.code in refusals:
            return answer, refusal.code
        raise self._error(answer, refusal, operation)

    def decoded(self, decoder: msgspec.json.Decoder[_T], answer: Answer, operation: str) -> _T:
        """Return the document of an answer.

        Raises:
            StoreUnavailableError: it is not what the protocol says.
        """
        try:
            return decoder.decode(answer.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise StoreUnavailableError(_NO_WORKER, store=self._store, operation=operation) from None

    async def health(self, operation: str) -> Health:
        """Ask how the Worker is: which opens a connection, and needs no token.

        Raises:
            StoreBlockedError: it speaks another protocol.
        """
        answer, _ = await self.ask("GET", operation, "/v1/health")
        health = self.decoded(_HEALTH, answer, operation)
        if health.protocol != PROTOCOL:
            why = f"the Worker speaks protocol {health.protocol}, this version of edgememory {PROTOCOL}"
            raise StoreBlockedError(why, store=self._store, operation=operation)
        return health

    def _error(self, answer: Answer, refusal: _Error | None, operation: str) -> StoreError:
        if answer.status < 400:  # a redirection, to a login page perhaps
            return StoreBlockedError(_NO_WORKER, store=self._store, operation=operation)
        said = f"HTTP {answer.status}" if refusal is None else f"{refusal.code}: {refusal.message}"
        if (wait := answer.headers.get("retry-after")) is not None:
            said += f" (to be asked again after {wait} s)"
        return failure(answer.status)(said, store=self._store, operation=operation)

    async def aclose(self) -> None:
        await self._http.aclose()


def _refusal(answer: Answer) -> _Error | None:
    try:
        return _REFUSAL.decode(answer.body).error
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
