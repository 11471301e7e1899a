import pytest

from edgememory.models import Claim, Pending, UserKey
from edgememory.outbox import memory
from edgememory.outbox.memory import MemoryOutbox
from edgememory.testing.clock import ManualClock
from edgememory.testing.outbox_contract import DAMAGED, OutboxContract, said


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestMemoryOutbox(OutboxContract):
    """Its storage is the object itself, so that is what survives, and what is looked into."""

    @pytest.fixture
    def outbox(self, clock: ManualClock) -> MemoryOutbox:
        self.storage = MemoryOutbox(now=clock.now)
        return self.storage

    async def reopen(self) -> MemoryOutbox:
        await self.storage.aclose()
        return self.storage

    async def raw_pending(self, user: UserKey) -> list[str]:
        return sorted(self.storage._boxes[user].rows)

    async def raw_damage(self, user: UserKey, id: str) -> None:
        rows = self.storage._boxes[user].rows
        rows[id] = memory._Row(DAMAGED, rows[id].appended_at)

    async def test_only_floors_that_were_not_used_for_long_are_forgotten(
        self, outbox: MemoryOutbox, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "FLOORS", 3)
        users = [UserKey("clinic", str(number)) for number in range(5)]
        for user in users:
            await outbox.ack(Claim(user, (), "token"), (), 4)
        assert [(await outbox.pending(user)).floor for user in users] == [0, 0, 4, 4, 4]
        clock.advance(91 * 86_400)
        await outbox.append(users[0], [said()])
        assert [(await outbox.pending(user)).floor for user in users[1:]] == [0, 0, 0, 0]

    async def test_no_user_with_changes_is_forgotten(
        self, outbox: MemoryOutbox, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(memory, "FLOORS", 1)
        waiting, change = UserKey("clinic", "waiting"), said()
        await outbox.append(waiting, [change])
        clock.advance(91 * 86_400)
        for number in range(3):
            await outbox.ack(Claim(UserKey("clinic", str(number)), (), "token"), (), 4)
        assert await outbox.pending(waiting) == Pending((change,), 0)
