"""Redis, Valkey, or Upstash over TCP: the cache that a region's agents share."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

try:
    import redis.asyncio as redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import (
        AskError,
        AuthorizationError,
        ClusterDownError,
        NoPermissionError,
        NoScriptError,
        OutOfMemoryError,
        TryAgainError,
    )
except ImportError as error:
    raise ImportError("RedisStore needs redis-py: pip install 'edgememory[redis]'") from error

from edgememory.errors import (
    ConfigError,
    CorruptEntryError,
    ErrorMap,
    StoreBlockedError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
    translated,
)
from edgememory.keys import entry_key
from edgememory.models import Entry, UserKey
from edgememory.stores.newer_wins import SCRIPT, SCRIPT_SHA1, from_value, keep_milliseconds, to_value

_ERRORS: ErrorMap = {
    redis.AuthenticationError: StoreBlockedError,
    AuthorizationError: StoreBlockedError,
    NoPermissionError: StoreBlockedError,
    OutOfMemoryError: StoreBlockedError,
    AskError: StoreBlockedError,  # a node of a cluster, which needs a proxy before it
    redis.InvalidResponse: StoreBlockedError,  # no Redis listens there
    redis.ConnectionError: StoreUnavailableError,
    redis.TimeoutError: StoreUnavailableError,
    redis.ReadOnlyError: StoreUnavailableError,
    ClusterDownError: StoreUnavailableError,
    TryAgainError: StoreUnavailableError,
    redis.ResponseError: StoreRejectedError,
}

_CODES: Mapping[str, type[StoreError]] = {
    "MISCONF": StoreBlockedError,
    "BUSY": StoreUnavailableError,
    "NOREPLICAS": StoreUnavailableError,
}
"""Errors that redis-py has no class for, by their first word. MISCONF: the disk is full."""

_GUARD = 5.0


class RedisStore:
    """Entries in Redis, one key a user. `put` is atomic newer-wins: one Lua script.

    Every call is one round trip. Needs the extra `redis`; asyncio only. A client passed in is used as it is,
    and is never closed; a URL makes a pool of the store's own. Redis should not evict, or a late fill may
    bring deleted data back: `maxmemory-policy noeviction`, or `volatile-ttl`, which takes tombstones last.
    """

    def __init__(self, client: redis.Redis | str, *, max_connections: int = 16) -> None:
        """*client* is a client, or a URL. A URL's pool has *max_connections*: more calls wait their turn."""
        self._owns_client = isinstance(client, str)
        self._client = _connect(client, max_connections) if isinstance(client, str) else client
        if self._client.connection_pool.connection_kwargs.get("decode_responses"):
            raise ConfigError("the Redis client has decode_responses=True, but entries are bytes")

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        with _translated("get"):
            value = cast("bytes | None", await self._execute("GET", entry_key(user)))
        return None if value is None else from_value(value)

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        """Return the entries that there are. A corrupt one is left out: `get` says what is wrong with it."""
        wanted = list(dict.fromkeys(users))
        if not wanted:
            return {}
        with _translated("get_many"):
            values = cast("list[bytes | None]", await self._execute("MGET", *map(entry_key, wanted)))
        found: dict[UserKey, Entry] = {}
        for user, value in zip(wanted, values, strict=True):
            with suppress(CorruptEntryError):
                if value is not None:
                    found[user] = from_value(value)
        return found

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        arguments = (1, entry_key(user), to_value(entry), keep_milliseconds(keep))
        with _translated("put"):
            try:
                return await self._execute("EVALSHA", SCRIPT_SHA1, *arguments) == 1
            except NoScriptError:
                return await self._execute("EVAL", SCRIPT, *arguments) == 1

    async def warm(self) -> None:
        with _translated("warm"):
            await self._execute("PING")

    async def aclose(self) -> None:
        if self._owns_client:
            await self._client.aclose()

    async def _execute(self, *command: str | bytes | int) -> object:
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]


@contextmanager
def _translated(operation: str) -> Generator[None]:
    with translated(_ERRORS, store="redis", operation=operation):
        try:
            yield
        except redis.ResponseError as error:
            ours = _CODES.get(str(error).partition(" ")[0])
            if ours is None:
                raise
            raise ours(str(error), store="redis", operation=operation) from error


def _connect(url: str, max_connections: int) -> redis.Redis:
    """Make a client that opens no connection before it is used.

    A kept connection may have died since it was last used: one retry, at once, on a fresh one. Every command
    here may be repeated. redis-py's own default waits up to seconds before a retry, and its RESP3 handshake
    takes round trips that nothing here needs. The guard is for callers without a timeout of their own.
    """
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=None,
            protocol=2,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            socket_timeout=_GUARD,
            socket_connect_timeout=_GUARD,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        )
        pool.connection_class(**pool.connection_kwargs)  # does no I/O, and knows which options there are
    except (ValueError, TypeError) as error:
        raise ConfigError(f"not a Redis URL: {error}") from error
    return redis.Redis.from_pool(pool)


if TYPE_CHECKING:
    from edgememory.store import CacheStore

    _: type[CacheStore] = RedisStore
