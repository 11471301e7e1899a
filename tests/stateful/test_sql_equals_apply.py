"""The functions in SQL against `apply`: the same changes make the same full state and the same bounded entry."""

import re
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgememory.changes import Change
from edgememory.limits import LIMITS
from edgememory.models import Committed, UserKey
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.stores.postgres import PostgresPrimary
from edgememory.testing import strategies
from edgememory.testing.clock import ManualClock
from edgememory.testing.refused import REFUSED
from tests.raw_postgres import raw_connection, raw_state
from tests.servers import each_postgres_version

__all__ = ["each_postgres_version"]

DELETE = "delete"

# Not those with a NUL: Postgres cannot read them at all, hence refuses them also where a deletion has overtaken them.
bad_changes = st.sampled_from([change for what, change in REFUSED.items() if "NUL" not in what])
commits = st.lists(strategies.changes | bad_changes, max_size=6)


@pytest.fixture
async def raw(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with raw_connection(migrated_database) as raw:
        yield raw


@pytest.fixture
async def primary(migrated_database: str) -> AsyncIterator[PostgresPrimary]:
    primary = PostgresPrimary(migrated_database)
    yield primary
    await primary.aclose()


def outcome(committed: Committed) -> tuple[tuple[str, ...], list[str]]:
    return committed.dropped, [refused.id for refused in committed.refused]


@pytest.mark.anyio
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(commits | st.just(DELETE), min_size=1, max_size=5))
async def test_sql_does_what_apply_does(
    primary: PostgresPrimary, raw: asyncpg.Connection, steps: Sequence[Sequence[Change] | str]
) -> None:
    clock = ManualClock()
    model = InMemoryOrigin(now=clock.now)
    user = UserKey("stateful", uuid4().hex)
    for step in steps:
        if isinstance(step, str):
            entry = await primary.delete(user)
            clock.step(entry.snapshot.erased_time - clock.now())
            assert entry.snapshot == (await model.delete(user)).snapshot
        else:
            done, expected = await primary.commit(user, step), await model.commit(user, step)
            assert outcome(done) == outcome(expected)
            assert done.entry.snapshot == expected.entry.snapshot
        assert await raw_state(raw, user) == model.state(user)
        assert (await primary.get(user)).snapshot == (await model.get(user)).snapshot
        assert await primary.get_messages(user, limit=3) == await model.get_messages(user, limit=3)


COUNTS = ("preferences", "facts", "forgotten", "summaries", "messages")


def test_the_counts_in_sql_are_the_limits() -> None:
    sql = (files("edgememory.stores.postgres") / "sql" / "0002_read.sql").read_text()
    get = sql[sql.index("FUNCTION edgememory.get(") : sql.index("COMMENT ON FUNCTION edgememory.get(")]
    counts = dict(re.findall(r"'(\w+)', \(\n\s+SELECT coalesce.*?LIMIT (\d+)", get, re.DOTALL))
    assert counts == {name: str(getattr(LIMITS, name)) for name in COUNTS}
    assert f"left(text, {LIMITS.message_in_snapshot})" in get
