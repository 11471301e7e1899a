"""Upstash over REST: a Redis for hosts that cannot keep a TCP connection, or run on trio."""

import binascii
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import msgspec
from msgspec import Struct

from edgememory.errors import CorruptEntryError, StoreBlockedError, StoreError, StoreUnavailableError
from edgememory.keys import entry_key
from edgememory.models import Entry, UserKey
from edgememory.stores.http import Answer, HttpClient, failure
from edgememory.stores.newer_wins import SCRIPT, from_value, keep_milliseconds, to_value

if TYPE_CHECKING:
    import httpx

STORE = "upstash"
BATCH = 100
"""Users of one MGET. Each has an entry of 64 KiB at most, and Upstash answers with 10 MB at most."""
TOKENS = 100_000
"""Users whose sync token is remembered."""

# Without it, bytes that are no UTF-8 come back damaged.
_HEADERS = {"Upstash-Encoding": "base64", "Content-Type": "application/json"}
_SYNC_TOKEN = "upstash-sync-token"
_BLOCKED = ("OOM", "NOPERM", "WRONGPASS", "ERR DB capacity", "ERR max ")
"""How errors begin for which an operator must act. A full database refuses writes; a plan's quota, everything."""

_NO_UPSTASH = "what answers there is no Upstash: is the address that of the REST API?"


class _Document(Struct):
    result: object = None
    error: str | None = None


_DECODER = msgspec.json.Decoder(_Document)


class UpstashStore:
    """Entries in Upstash, one key a user. `put` is atomic newer-wins: one Lua script, the same as `RedisStore`'s.

    Every call is one request; asyncio and trio. A global database answers from the nearest region, which may not have
    the last write yet: each user's last `upstash-sync-token` is sent along, so that what this process reads of a user
    with `get` never goes back. `get_many` may. A client passed in is used as it is, and is never closed. Eviction must
    be off, as it is by default, or a late fill may bring deleted data back.
    """

    cleared_after = 0.0

    def __init__(
        self, url: str, token: str, *, key_secret: str | None, client: "httpx.AsyncClient | None" = None
    ) -> None:
        """*url* and *token* are the REST ones. With a *key_secret*, no user id stands in a key: see `entry_key`.

        Raises:
            ConfigError: *url* is no address, or *token* cannot stand in a header.
        """
        self._http = HttpClient(url, token, store=STORE, client=client)
        self._key_secret = key_secret
        self._tokens: OrderedDict[UserKey, str] = OrderedDict()

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        value = await self._of(user, "get", "GET", self._key(user))
        return None if value is None else from_value(_bytes(value))

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        """Return the entries that there are. A corrupt one is left out: `get` says what is wrong with it."""
        wanted = list(dict.fromkeys(users))
        found: dict[UserKey, Entry] = {}
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            values, _ = await self._run("get_many", {}, "MGET", *map(self._key, batch))
            if not isinstance(values, list) or len(cast("list[object]", values)) != len(batch):
                raise StoreUnavailableError(_NO_UPSTASH, store=STORE, operation="get_many")
            for user, value in zip(batch, cast("list[object]", values), strict=True):
                with suppress(CorruptEntryError):
                    if value is not None:
                        found[user] = from_value(_bytes(value))
        return found

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        arguments = ("1", self._key(user), to_value(entry).decode(), str(keep_milliseconds(keep)))
        try:
            return await self._of(user, "put", "EVALSHA", SCRIPT.sha1, *arguments) == 1
        except StoreError as error:
            if "NOSCRIPT" not in str(error):
                raise
        return await self._of(user, "put", "EVAL", SCRIPT.text, *arguments) == 1

    async def warm(self) -> None:
        await self._run("warm", {}, "PING")

    async def aclose(self) -> None:
        await self._http.aclose()

    def _key(self, user: UserKey) -> str:
        return entry_key(user, secret=self._key_secret)

    async def _of(self, user: UserKey, operation: str, *command: str) -> object:
        """Run a command on what its predecessors of this user have seen."""
        sent = self._tokens.get(user)
        result, received = await self._run(operation, {} if sent is None else {_SYNC_TOKEN: sent}, *command)
        # Tokens cannot be compared: of two requests at once, the first to answer decides, unless the other has written.
        if received is not None and (operation == "put" or self._tokens.get(user) == sent):
            self._tokens[user] = received
            self._tokens.move_to_end(user)
            if len(self._tokens) > TOKENS:
                self._tokens.popitem(last=False)
        return result

    async def _run(self, operation: str, headers: Mapping[str, str], *command: str) -> tuple[object, str | None]:
        """Return the result and the sync token."""
        answer = await self._http.send("POST", operation, "/", msgspec.json.encode(command), {**_HEADERS, **headers})
        document = _document(answer, operation)
        if document.error is not None:
            raise _kind(answer.status, document.error)(document.error, store=STORE, operation=operation)
        return document.result, answer.headers.get(_SYNC_TOKEN)


def _document(answer: Answer, operation: str) -> _Document:
    try:
        document = _DECODER.decode(answer.body)
    except (msgspec.DecodeError, UnicodeError):
        document = _Document(error=None)
        if answer.status < 400:
            raise StoreUnavailableError(_NO_UPSTASH, store=STORE, operation=operation) from None
    if answer.status >= 400 and document.error is None:
        return _Document(error=f"HTTP {answer.status}")
    return document


def _kind(status: int, error: str) -> type[StoreError]:
    return StoreBlockedError if error.startswith(_BLOCKED) else failure(max(status, 400))


def _bytes(value: object) -> bytes:
    try:
        return b64decode(str(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise CorruptEntryError("the value is not base64, as was asked for") from error


if TYPE_CHECKING:
    from edgememory.store import CacheStore

    _: type[CacheStore] = UpstashStore
