"""What every user of Redis needs: a client that opens nothing before it is used, and errors that are ours."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager

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
    raise ImportError("Redis needs redis-py: pip install 'edgememory[redis]'") from error

from edgememory.errors import (
    ConfigError,
    ErrorMap,
    StoreBlockedError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
    translated,
)
from edgememory.stores.lua import Script

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
    "OOM": StoreBlockedError,
    "READONLY": StoreUnavailableError,
    "BUSY": StoreUnavailableError,
    "NOREPLICAS": StoreUnavailableError,
}
"""Errors that redis-py has no class for, by their code. MISCONF: the disk is full."""
_CODE = re.compile(r"([A-Z]+) |Error running script.*? -([A-Z]+) ")
"""An error begins with its code. Before Redis 7, what a script met stands further behind."""

_GUARD = 5.0


class RedisClient:
    """Runs commands, each in one round trip. A client passed in is used as it is, and is never closed."""

    def __init__(self, client: redis.Redis | str, *, max_connections: int) -> None:
        """*client* is a client, or a URL. A URL's pool has *max_connections*: more calls wait their turn."""
        self._owned = isinstance(client, str)
        self._client = _connect(client, max_connections) if isinstance(client, str) else client
        if self._client.connection_pool.connection_kwargs.get("decode_responses"):
            raise ConfigError("the Redis client has decode_responses=True, but what is stored is bytes")

    async def execute(self, *command: str | bytes | int | float) -> object:
        # redis-py has types for its named commands, not for the one that runs any.
        return await self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def run(self, script: Script, *arguments: str | bytes | int | float) -> object:
        """Run a script, whose *arguments* begin with the number of its keys; the server may not know it yet."""
        try:
            return await self.execute("EVALSHA", script.sha1, *arguments)
        except NoScriptError:
            return await self.execute("EVAL", script.text, *arguments)

    async def aclose(self) -> None:
        if self._owned:
            await self._client.aclose()


@contextmanager
def redis_translated(operation: str, *, store: str) -> Generator[None]:
    """Do what `errors.translated` does, also for errors that redis-py knows no class for."""
    with translated(_ERRORS, store=store, operation=operation):
        try:
            yield
        except redis.ResponseError as error:
            code = _CODE.match(str(error))
            ours = None if code is None else _CODES.get(code[1] or code[2])
            if ours is None:
                raise
            raise ours(str(error), store=store, operation=operation) from error


def is_refusal(error: StoreError) -> bool:
    """Whether the server does not run such a command for this client: each hosted one has its own words for that."""
    return isinstance(error, StoreRejectedError) or isinstance(error.__cause__, NoPermissionError)


def _connect(url: str, max_connections: int) -> redis.Redis:
    """Make a client that opens no connection before it is used.

    A kept connection may have died since it was last used: one retry, at once, on a fresh one. Every command
    here may be repeated. redis-py's own default waits up to seconds before a retry, and its RESP3 handshake
    takes round trips that nothing here needs, as does telling the server the client's name: 15 ms of a first read from
    5 ms away. The guard is for callers without a timeout of their own.
    """
    try:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=None,
            protocol=2,
            driver_info=None,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            socket_timeout=_GUARD,
            socket_connect_timeout=_GUARD,
            **({} if url.startswith("unix:") else {"socket_keepalive": True}),
        )
        pool.connection_class(**pool.connection_kwargs)  # does no I/O, and knows which options there are
    except (ValueError, TypeError) as error:
        raise ConfigError(f"not a Redis URL: {error}") from error
    return redis.Redis.from_pool(pool)
