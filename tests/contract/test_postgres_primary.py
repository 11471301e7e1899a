from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from edgememory.changes import Change
from edgememory.models import Snapshot, UserKey
from edgememory.store import OriginStore
from edgememory.stores.postgres import PostgresPrimary
from edgememory.testing.origin_contract import OriginContract
from tests.raw_postgres import raw_commit, raw_connection, raw_delete, raw_state
from tests.servers import each_postgres_version

__all__ = ["each_postgres_version"]

pytestmark = pytest.mark.anyio


class TestPostgresPrimary(OriginContract):
    @pytest.fixture
    async def raw(self, origin_dsn: str) -> AsyncIterator[asyncpg.Connection]:
        async with raw_connection(origin_dsn) as self._raw:
            yield self._raw

    @pytest.fixture
    async def store(self, origin_dsn: str, raw: asyncpg.Connection) -> AsyncIterator[OriginStore]:
        store = PostgresPrimary(origin_dsn)
        yield store
        await store.aclose()

    async def raw_commit(self, user: UserKey, changes: Sequence[Change]) -> None:
        await raw_commit(self._raw, user, changes)

    async def raw_delete(self, user: UserKey) -> None:
        await raw_delete(self._raw, user)

    async def raw_state(self, user: UserKey) -> Snapshot:
        return await raw_state(self._raw, user)

    async def raw_restored(self) -> None:
        await self._raw.execute("SELECT edgememory.restored()")


class TestPostgresPrimaryBehindAPooler(TestPostgresPrimary):
    """Without named statements."""

    @pytest.fixture
    async def store(self, origin_dsn: str, raw: asyncpg.Connection) -> AsyncIterator[OriginStore]:
        store = PostgresPrimary(origin_dsn, pooler=True)
        yield store
        await store.aclose()


class TestPostgresPrimaryWithAPoolOfTheCallers(TestPostgresPrimary):
    @pytest.fixture
    async def store(self, origin_dsn: str, raw: asyncpg.Connection) -> AsyncIterator[OriginStore]:
        async with asyncpg.create_pool(origin_dsn, min_size=0) as pool:
            yield PostgresPrimary(pool)
