"""One connection to Postgres, with its prepared statements."""

from collections.abc import Sequence
from typing import cast

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

_CONNECT_TIMEOUT = 15.0
_CLOSE_TIMEOUT = 1.0
_STATEMENTS = 100
"""asyncpg's own default; 0 makes every statement unnamed."""

_IS_CROWDED = """
    SELECT sum(numbackends) >= 0.9 * (
        current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - current_setting('reserved_connections')::int
    ) FROM pg_stat_database
"""

GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""Errors after which a line is not used again: the server restarted, or another one is the primary now."""


class Line:
    """A connection whose statements are prepared once: asyncpg's own cache would prepare each at its first use."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", *, pooler: bool, rehearsed: str | None = None
    ) -> None:
        """*rehearsed* reads a user's entry, and is what a caller will wait for."""
        self._connection = connection
        self._rehearsed = None if pooler else rehearsed  # behind a pooler, the next one has another server process
        self._pooler = pooler
        self._statements: dict[str, PreparedStatement[asyncpg.Record]] = {}
        self.used = False
        """Whether it has idled since it was opened, and may have died meanwhile."""

    async def fetchval(self, sql: str, arguments: Sequence[object]) -> object:
        if self._pooler:
            # An unnamed statement takes two messages, and only in a transaction does a pooler send both to one server.
            async with self._connection.transaction():
                return cast(object, await self._connection.fetchval(sql, *arguments))
        if sql not in self._statements:
            await self.prepare(sql)
        return cast(object, await self._statements[sql].fetchval(*arguments))

    async def rehearse(self) -> None:
        """Read nobody's entry: a server process plans a function at its first call, which takes it 4 ms more (run)."""
        if self._rehearsed is None:
            return
        try:
            await self.fetchval(self._rehearsed, ("", ""))
        except BaseException:
            self.terminate()
            raise

    async def prepare(self, sql: str) -> None:
        self._statements[sql] = await self._connection.prepare(sql)

    async def is_crowded(self) -> bool:
        """Ask whether the server has hardly any connection left for others."""
        return bool(await self._connection.fetchval(_IS_CROWDED))

    @property
    def is_closed(self) -> bool:
        return self._connection.is_closed()

    async def close(self) -> None:
        await self._connection.close(timeout=_CLOSE_TIMEOUT)

    def terminate(self) -> None:
        self._connection.terminate()


async def open_line(dsn: str, *, read: str | None = None, pooler: bool) -> Line:
    """Connect, and prepare what *read*s a user's entry: it then costs a caller one round trip.

    The rest is prepared when it is first used: no caller waits for that.
    """
    connection = await connected(dsn, statements=0 if pooler else _STATEMENTS)
    line = Line(connection, pooler=pooler, rehearsed=read)
    try:
        if read is not None and not pooler:
            await line.prepare(read)
    except BaseException:
        line.terminate()
        raise
    return line


async def connected(dsn: str, *, statements: int = _STATEMENTS) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect; whatever is wrong with the dsn is an error of asyncpg's own."""
    try:
        return await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT, statement_cache_size=statements)
    except asyncpg.InterfaceError:
        raise
    except (ValueError, OverflowError) as error:
        # What asyncpg lets through where a dsn is no dsn.
        raise asyncpg.ClientConfigurationError(f"invalid dsn: {error}") from error
