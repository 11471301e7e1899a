"""The SQL of the reference runs, and says what its text says."""

import json

import pytest

from edgememory import UserKey
from edgememory.keys import fact_key
from edgememory.stores.postgres import PostgresPrimary
from tests.docs.fences import fences
from tests.raw_postgres import raw_connection

PAGE = "docs/reference/sql.md"
GET, GET_MESSAGES, COMMIT, DELETE, RESTORED, EDIT = fences(PAGE, "sql")
FUNCTIONS = """
    SELECT proname || '(' || pg_get_function_arguments(oid) || ') → ' || pg_get_function_result(oid)
    FROM pg_proc WHERE pronamespace = 'edgememory'::regnamespace
"""


@pytest.mark.anyio
async def test_the_functions_are_there(migrated_database: str) -> None:
    documented = {
        " ".join(signature.split()).removeprefix("edgememory.").replace("( ", "(") for signature in fences(PAGE, "text")
    }
    async with raw_connection(migrated_database) as connection:
        assert documented <= {row[0] for row in await connection.fetch(FUNCTIONS)}


@pytest.mark.anyio
async def test_another_program_may_commit(migrated_database: str) -> None:
    store, user = PostgresPrimary(migrated_database), UserKey("default", "user-42")
    async with raw_connection(migrated_database) as connection:
        for _ in range(2):  # it may be repeated
            answer = json.loads(await connection.fetchval(COMMIT))
            assert (answer["dropped"], answer["refused"]) == ([], [])
        [fact] = (await store.get(user)).snapshot.facts
        assert fact.key == fact_key(fact.text)
        assert await connection.fetch(GET_MESSAGES) == []
        assert await connection.fetchval(GET) is None
        assert json.loads(await connection.fetchval(DELETE))["snapshot"]["exists"] is False
    await store.aclose()


@pytest.mark.anyio
async def test_direct_edits_and_restores_raise_the_version(migrated_database: str) -> None:
    store, user = PostgresPrimary(migrated_database), UserKey("default", "user-42")
    async with raw_connection(migrated_database) as connection:
        await connection.execute(COMMIT.replace("Prefers to be called in the morning", "Lives in Lisbon"))
        before = (await store.get(user)).snapshot.version
        await connection.execute(EDIT)
        edited = (await store.get(user)).snapshot
        assert (edited.version, edited.facts) == (before + 1, ())
        epoch = await connection.fetchval(RESTORED)
        assert (await store.get(user)).snapshot.version == epoch * 2**32
    await store.aclose()
