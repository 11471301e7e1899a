from collections.abc import AsyncIterator

import asyncpg
import pytest
from anyio import create_task_group
from msgspec.structs import replace

from edgememory.errors import StoreBlockedError, StoreUnavailableError
from edgememory.stores.postgres import Applied, migrate, migrations
from tests.raw_postgres import plain_role, raw_connection
from tests.servers import each_postgres_version

__all__ = ["each_postgres_version"]

pytestmark = pytest.mark.anyio

ALL = [Applied(migration.number, migration.name) for migration in migrations.migrations()]


@pytest.fixture
async def raw(database: str) -> AsyncIterator[asyncpg.Connection]:
    async with raw_connection(database) as raw:
        yield raw


async def applied(raw: asyncpg.Connection) -> list[int]:
    return [row["number"] for row in await raw.fetch("SELECT number FROM edgememory.migrations ORDER BY number")]


async def test_it_says_what_it_did_and_does_it_once(database: str, raw: asyncpg.Connection) -> None:
    assert await migrate(database) == ALL
    assert await applied(raw) == [done.number for done in ALL]
    before = await raw.fetch("SELECT * FROM edgememory.migrations")
    assert await migrate(database) == []
    assert await raw.fetch("SELECT * FROM edgememory.migrations") == before


async def test_numbers_are_in_order_without_gaps() -> None:
    assert [done.number for done in ALL] == list(range(1, len(ALL) + 1))


async def test_many_at_once_apply_each_once(database: str) -> None:
    done: list[Applied] = []

    async def run() -> None:
        done.extend(await migrate(database))

    async with create_task_group() as group:
        for _ in range(8):
            group.start_soon(run)
    assert sorted(done, key=lambda one: one.number) == ALL


async def test_a_migration_that_fails_leaves_nothing_and_is_repeated(
    database: str, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = migrations.migrations()
    bad = replace(good[2], sql=good[2].sql + "SELECT no_such_function();")
    monkeypatch.setattr(migrations, "migrations", lambda: [*good[:2], bad, *good[3:]])
    with pytest.raises(StoreBlockedError, match="no_such_function"):
        await migrate(database)
    assert await applied(raw) == [1, 2]
    assert await raw.fetchval("SELECT to_regproc('edgememory.commit')") is None
    monkeypatch.undo()
    assert await migrate(database) == ALL[2:]


async def test_a_database_that_is_newer_is_refused(
    database: str, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(database)
    known = migrations.migrations()
    monkeypatch.setattr(migrations, "migrations", lambda: known[:-1])
    with pytest.raises(StoreBlockedError, match="update edgememory"):
        await migrate(database)


async def test_a_changed_migration_is_refused(
    database: str, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(database)
    known = migrations.migrations()
    changed = replace(known[1], sql=known[1].sql + "\n")
    monkeypatch.setattr(migrations, "migrations", lambda: [known[0], changed, *known[2:]])
    with pytest.raises(StoreBlockedError, match=r"migration 2 \(read\) is not the one that was applied"):
        await migrate(database)


async def test_a_server_that_is_too_old_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "OLDEST_SERVER", 999)
    with pytest.raises(StoreBlockedError, match="edgememory needs 999 or later"):
        await migrate(database)


async def test_a_role_that_may_not_is_refused(database: str, raw: asyncpg.Connection) -> None:
    async with plain_role(raw, database) as (_, dsn):
        with pytest.raises(StoreBlockedError, match="permission denied"):
            await migrate(dsn)


@pytest.mark.parametrize("dsn", ["postgresql://127.0.0.1:99999/x", "postgresql://[::1/x", "nonsense"])
async def test_what_is_no_dsn_is_blocked(dsn: str) -> None:
    with pytest.raises(StoreBlockedError, match="invalid"):
        await migrate(dsn)


async def test_a_server_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreUnavailableError):
        await migrate("postgresql://postgres@127.0.0.1:1/postgres")
