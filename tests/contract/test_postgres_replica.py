from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from urllib.parse import urlsplit

import anyio
import pytest

from edgememory.changes import Change
from edgememory.embedded import Version
from edgememory.lab.servers import ReplicaServer
from edgememory.models import Entry, Snapshot, UserKey
from edgememory.store import ReplicaStore
from edgememory.stores.postgres import PostgresReplica
from edgememory.testing.read_contract import ReadContract, everything
from tests.raw_postgres import raw_commit, raw_connection, raw_delete, raw_state
from tests.servers import PostgresOf, each_postgres_version, running

__all__ = ["each_postgres_version"]

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def replica_of(postgres_of: PostgresOf) -> Iterator[Callable[[Version], ReplicaServer]]:
    """The one replica of the server of a version, for these tests."""
    with ExitStack() as stack:
        yield cache(lambda version: stack.enter_context(running(ReplicaServer(postgres_of(version)))))


class TestPostgresReplica(ReadContract):
    @pytest.fixture
    def replica_dsn(
        self, replica_of: Callable[[Version], ReplicaServer], origin_dsn: str, postgres_version: Version
    ) -> str:
        return replica_of(postgres_version).dsn_of(urlsplit(origin_dsn).path.removeprefix("/"))

    @pytest.fixture
    async def store(self, origin_dsn: str, replica_dsn: str) -> AsyncIterator[ReplicaStore]:
        async with raw_connection(origin_dsn) as self._raw, raw_connection(replica_dsn) as self._copy:
            await self._raw.execute("SELECT pg_current_xact_id()")
            await self._replayed()
            store = self.opened(replica_dsn)
            yield store
            await store.aclose()

    def opened(self, dsn: str) -> PostgresReplica:
        return PostgresReplica({"near": dsn})

    async def raw_commit(self, user: UserKey, changes: Sequence[Change]) -> None:
        await raw_commit(self._raw, user, changes)
        await self._replayed()

    async def raw_delete(self, user: UserKey) -> None:
        await raw_delete(self._raw, user)
        await self._replayed()

    async def raw_state(self, user: UserKey) -> Snapshot:
        return await raw_state(self._raw, user)

    async def _replayed(self) -> None:
        written = await self._raw.fetchval("SELECT pg_current_wal_insert_lsn()::text")
        while not await self._copy.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written):  # noqa: ASYNC110
            await anyio.sleep(0.001)

    async def test_each_copy_shows_its_own(self, store: ReplicaStore, user: UserKey) -> None:
        await self.raw_commit(user, everything())
        shown = await store.get_each(user)
        assert list(shown) == ["near"]
        assert isinstance(shown["near"], Entry)
        assert shown["near"].snapshot == (await store.get(user)).snapshot


class TestPostgresReplicaBehindAPooler(TestPostgresReplica):
    """Without named statements."""

    def opened(self, dsn: str) -> PostgresReplica:
        return PostgresReplica({"near": dsn}, pooler=True)
