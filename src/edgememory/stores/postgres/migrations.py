"""The schema, as numbered SQL files, and what applies them."""

from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files

import asyncpg
from msgspec import Struct

from edgememory.errors import StoreBlockedError
from edgememory.stores.postgres.errors import postgres_errors
from edgememory.stores.postgres.line import connected

OLDEST_SERVER = 16
_LOCK = 0x656467656D656D  # "edgemem"

_PREPARE = """
    CREATE SCHEMA edgememory;
    CREATE TABLE edgememory.migrations (
        number integer PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
"""


class Migration(Struct, frozen=True):
    """One numbered SQL file. Once released it never changes."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


class Applied(Struct, frozen=True):
    """A migration that a call of `migrate` has applied."""

    number: int
    name: str


def migrations() -> list[Migration]:
    """Return what this version of edgememory brings, in order."""
    folder = files("edgememory.stores.postgres") / "sql"
    named = [(file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".sql")]
    return [Migration(int(name[:4]), name[5:].removesuffix(".sql"), sql) for name, sql in sorted(named)]


async def migrate(dsn: str) -> list[Applied]:
    """Bring the schema of the database up to date and return what that took: nothing, if it was.

    Each file is one transaction, under a lock: it may run anywhere, at any time, several at once.

    Raises:
        StoreBlockedError: the server is older than Postgres 16; the database is newer than this program; a file
            that was applied has changed; or the role may not do it.
    """
    with postgres_errors("migrate"):
        connection = await connected(dsn)
        try:
            return await _migrate(connection, migrations())
        finally:
            await connection.close(timeout=5)


async def _migrate(connection: "asyncpg.Connection[asyncpg.Record]", wanted: Sequence[Migration]) -> list[Applied]:
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        raise _refused(f"the server is Postgres {version.major}; edgememory needs {OLDEST_SERVER} or later")
    applied: list[Applied] = []
    for migration in wanted:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            if await connection.fetchval("SELECT to_regclass('edgememory.migrations')") is None:
                await connection.execute(_PREPARE)
            if _is_applied(migration, await _checksums(connection), newest=wanted[-1].number):
                continue
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO edgememory.migrations (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
            applied.append(Applied(migration.number, migration.name))
    return applied


async def _checksums(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[int, str]:
    rows = await connection.fetch("SELECT number, checksum FROM edgememory.migrations")
    return {row["number"]: row["checksum"] for row in rows}


def _is_applied(migration: Migration, checksums: dict[int, str], *, newest: int) -> bool:
    there = max(checksums, default=0)
    if there > newest:
        raise _refused(
            f"the database has migration {there}, this edgememory knows them up to {newest}: update edgememory"
        )
    checksum = checksums.get(migration.number)
    if checksum not in (None, migration.checksum):
        raise _refused(
            f"migration {migration.number} ({migration.name}) is not the one that was applied to this database: "
            "install the edgememory that applied it, or a later one, unchanged"
        )
    return checksum is not None


def _refused(message: str) -> StoreBlockedError:
    return StoreBlockedError(message, store="postgres", operation="migrate")
