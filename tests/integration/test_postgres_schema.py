"""What the schema promises to those who use it without the library: direct edits, plain roles, other programs."""

import re
from collections.abc import AsyncIterator
from importlib.resources import files
from uuid import uuid4

import asyncpg
import pytest

from edgememory.ids import next_id
from edgememory.models import UserKey
from edgememory.stores.postgres import PostgresPrimary
from edgememory.testing.read_contract import everything
from tests.raw_postgres import plain_role, raw_commit, raw_connection, raw_state
from tests.servers import each_postgres_version

__all__ = ["each_postgres_version"]

pytestmark = pytest.mark.anyio

ANN = UserKey("schema", "ann")
BOB = UserKey("schema", "bob")


@pytest.fixture
async def raw(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with raw_connection(migrated_database) as raw:
        yield raw


@pytest.fixture
async def primary(migrated_database: str) -> AsyncIterator[PostgresPrimary]:
    primary = PostgresPrimary(migrated_database)
    yield primary
    await primary.aclose()


@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE edgememory.messages SET text = 'x'",
        "UPDATE edgememory.facts SET text = 'x' WHERE text IS NOT NULL",
        "UPDATE edgememory.preferences SET value = '1'",
        "UPDATE edgememory.summaries SET text = 'x'",
        "UPDATE edgememory.users SET name = 'x'",
        "DELETE FROM edgememory.messages",
        "DELETE FROM edgememory.facts",
        "DELETE FROM edgememory.preferences",
        "DELETE FROM edgememory.summaries",
    ],
)
async def test_a_direct_edit_adds_one_to_each_users_version(
    raw: asyncpg.Connection, primary: PostgresPrimary, edit: str
) -> None:
    for user in (ANN, BOB):
        await raw_commit(raw, user, everything())
    where = "AND" if "WHERE" in edit else "WHERE"
    await raw.execute(f"{edit} {where} namespace = 'schema' AND user_id = 'ann'")
    assert ((await primary.get(ANN)).snapshot.version, (await primary.get(BOB)).snapshot.version) == (2, 1)
    await raw.execute(edit)
    assert (await primary.get(BOB)).snapshot.version == 2


async def test_an_edit_that_touches_no_row_changes_no_version(
    raw: asyncpg.Connection, primary: PostgresPrimary
) -> None:
    await raw_commit(raw, ANN, everything())
    await raw.execute("DELETE FROM edgememory.facts WHERE key = 'no such key'")
    await raw.execute("UPDATE edgememory.users SET name = name")
    assert (await primary.get(ANN)).snapshot.version == 1


async def test_a_row_inserted_directly_makes_a_user_with_its_last_id(
    raw: asyncpg.Connection, primary: PostgresPrimary
) -> None:
    id = next_id()
    insert = "INSERT INTO edgememory.facts (namespace, user_id, key, id, text) VALUES ('schema', 'ann', $1, $2, 'x')"
    await raw.execute(insert, "k", id)
    snapshot = (await primary.get(ANN)).snapshot
    assert (snapshot.exists, snapshot.version, snapshot.last_id) == (True, 1, id)
    assert [fact.text for fact in snapshot.facts] == ["x"]


async def test_a_direct_edit_after_a_restore_counts_from_the_new_epoch(
    raw: asyncpg.Connection, primary: PostgresPrimary
) -> None:
    await raw_commit(raw, ANN, everything())
    await raw_commit(raw, BOB, everything())
    epoch = await raw.fetchval("SELECT edgememory.restored()")
    await raw.execute("DELETE FROM edgememory.facts")
    await raw.execute("UPDATE edgememory.users SET name = 'x' WHERE user_id = 'bob'")
    assert (await primary.get(ANN)).snapshot.version == epoch * 2**32 + 1
    assert (await primary.get(BOB)).snapshot.version == epoch * 2**32 + 2


async def test_a_commit_after_a_direct_edit_in_one_transaction_counts_both(
    raw: asyncpg.Connection, primary: PostgresPrimary
) -> None:
    await raw_commit(raw, ANN, everything())
    async with raw.transaction():
        await raw_commit(raw, ANN, everything())
        await raw.execute("DELETE FROM edgememory.facts")
    assert (await primary.get(ANN)).snapshot.version == 3


async def test_a_users_row_is_not_deleted_directly(raw: asyncpg.Connection) -> None:
    await raw_commit(raw, ANN, everything())
    with pytest.raises(asyncpg.RestrictViolationError, match=r"edgememory\.delete_user\('schema', 'ann'\)"):
        await raw.execute("DELETE FROM edgememory.users")


async def test_a_plain_role_needs_what_the_schema_says(raw: asyncpg.Connection, migrated_database: str) -> None:
    sql = (files("edgememory.stores.postgres") / "sql" / "0001_tables.sql").read_text()
    grants = " ".join(re.findall(r"^--   (.*)$", sql, re.MULTILINE))
    async with plain_role(raw, migrated_database) as (name, dsn):
        await raw.execute(grants.replace("TO app", f"TO {name}"))
        primary = PostgresPrimary(dsn)
        await primary.commit(ANN, everything())
        assert (await primary.delete(ANN)).snapshot.is_tombstone
        assert (await primary.get_messages(ANN)).items == ()
        await primary.aclose()
        async with raw_connection(dsn) as plain:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await plain.execute("SELECT edgememory.restored()")


async def test_a_search_path_of_the_callers_changes_nothing(raw: asyncpg.Connection) -> None:
    await raw.execute("CREATE SCHEMA evil; CREATE TABLE evil.epoch (epoch bigint); SET search_path = evil, edgememory")
    await raw.execute("CREATE FUNCTION evil.greatest_of(bigint) RETURNS bigint LANGUAGE sql RETURN 0")
    await raw_commit(raw, ANN, everything())
    assert (await raw_state(raw, ANN)).version == 1


async def test_a_commit_in_a_stricter_transaction_fails_rather_than_forgets(
    raw: asyncpg.Connection, migrated_database: str
) -> None:
    await raw_commit(raw, ANN, [])
    async with raw_connection(migrated_database) as other:
        transaction = other.transaction(isolation="repeatable_read")
        await transaction.start()
        await other.execute("SELECT 1 FROM edgememory.users")
        await raw_commit(raw, ANN, [])
        with pytest.raises(asyncpg.SerializationError):
            await raw_commit(other, ANN, everything())
        await transaction.rollback()


@pytest.mark.parametrize("changes", ["{}", "1", '"x"', "null"])
async def test_what_is_no_list_of_changes_is_an_error(raw: asyncpg.Connection, changes: str) -> None:
    with pytest.raises(asyncpg.DataError):
        await raw.execute("SELECT edgememory.commit('schema', 'ann', $1)", changes)


@pytest.mark.parametrize(
    "change",
    [
        "null",
        "1",
        "[]",
        "{}",
        '{"kind": "message_added"}',
        '{"kind": "no such kind", "id": "ID", "session_started": 1}',
        '{"kind": "facts_used", "id": "ID", "session_started": 1, "keys": 3}',
        '{"kind": "fact_forgotten", "id": "ID", "session_started": 1}',
        '{"kind": "fact_remembered", "id": "ID", "session_started": 1, "key": "k", "importance": 1}',
        '{"kind": "name_set", "id": "ID", "session_started": "soon", "name": "x"}',
        '{"kind": "name_set", "id": "ID", "base": 1.5, "name": "x"}',
        '{"kind": "preference_set", "id": "ID", "session_started": 1, "name": "p", "value": 1e999}',
        '{"kind": "preference_set", "id": "ID", "session_started": 1, "name": "p", "value": "\\ud800"}',
    ],
)
async def test_what_another_program_gets_wrong_is_refused(
    raw: asyncpg.Connection, primary: PostgresPrimary, change: str
) -> None:
    user = UserKey("schema", uuid4().hex)
    changes = f"[{change.replace('ID', next_id())}]"
    committed = await raw.fetchval(
        "SELECT edgememory.commit($1, $2, $3) -> 'refused'", user.namespace, user.user_id, changes
    )
    assert '"reason"' in committed
    snapshot = (await primary.get(user)).snapshot
    assert (snapshot.exists, snapshot.version) == (False, 1)


async def test_preferences_of_changes_without_a_value_are_unset(
    raw: asyncpg.Connection, primary: PostgresPrimary
) -> None:
    change = f'[{{"kind": "preference_set", "id": "{next_id()}", "session_started": 1, "name": "p"}}]'
    await raw.execute("SELECT edgememory.commit('schema', 'ann', $1)", change)
    (preference,) = (await primary.get(ANN)).snapshot.preferences
    assert preference.value is None
