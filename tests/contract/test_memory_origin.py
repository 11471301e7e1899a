from collections.abc import Sequence

import pytest

from edgememory.changes import Change
from edgememory.models import Snapshot, UserKey
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.testing.origin_contract import OriginContract


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestInMemoryOrigin(OriginContract):
    @pytest.fixture
    def store(self) -> InMemoryOrigin:
        self.origin = InMemoryOrigin()
        return self.origin

    async def raw_commit(self, user: UserKey, changes: Sequence[Change]) -> None:
        await self.origin.commit(user, changes)

    async def raw_delete(self, user: UserKey) -> None:
        await self.origin.delete(user)

    async def raw_state(self, user: UserKey) -> Snapshot:
        return self.origin.state(user)

    async def raw_restored(self) -> None:
        self.origin.restored()
