import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edgememory.models import Claim, Pending, UserKey
from edgememory.outbox import file_sql
from edgememory.outbox.file import FileOutbox
from edgememory.testing.clock import ManualClock
from edgememory.testing.outbox_contract import ANNA, DAMAGED, LEASE, OutboxContract, said


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestFileOutbox(OutboxContract):
    @pytest.fixture
    async def outbox(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[FileOutbox]:
        self.path = tmp_path / "folder" / "outbox.db"
        self.clock = clock
        self.opened: list[FileOutbox] = []
        yield await self.reopen()
        for outbox in self.opened:
            await outbox.aclose()

    async def reopen(self) -> FileOutbox:
        self.opened.append(FileOutbox(self.path, now=self.clock.now))
        return self.opened[-1]

    def raw(self, statement: str, parameters: tuple[str | bytes | float, ...] = ()) -> list[tuple[str]]:
        connection = sqlite3.connect(self.path)
        try:
            with connection:
                return connection.execute(statement, parameters).fetchall()
        finally:
            connection.close()

    async def raw_pending(self, user: UserKey) -> list[str]:
        rows = self.raw(
            "SELECT id FROM changes JOIN users USING (user) WHERE namespace = ? AND user_id = ? ORDER BY id",
            (user.namespace, user.user_id),
        )
        return [id for (id,) in rows]

    async def raw_damage(self, user: UserKey, id: str) -> None:
        self.raw("UPDATE changes SET body = ? WHERE id = ?", (DAMAGED, id))

    async def test_a_change_stored_under_another_id_is_damaged(self, outbox: FileOutbox) -> None:
        wrong, good = said(), said()
        await outbox.append(ANNA, [wrong, good])
        self.raw("UPDATE changes SET id = 'other' WHERE id = ?", (wrong.id,))
        claim = await self.claim_one(outbox)
        assert claim.changes == (good,)
        assert [letter.id for letter in await outbox.dead_letters(limit=2)] == ["other"]

    async def test_claims_survive_the_process(self, outbox: FileOutbox) -> None:
        await outbox.append(ANNA, [said()])
        await self.claim_one(outbox)
        await outbox.aclose()
        assert await (await self.reopen()).claim(lease=LEASE, limit=1) == []

    async def test_a_closed_outbox_opens_again(self, outbox: FileOutbox) -> None:
        change = said()
        await outbox.append(ANNA, [change])
        await outbox.aclose()
        assert (await outbox.pending(ANNA)).changes == (change,)

    async def test_floors_are_forgotten_least_recently_used_first(
        self, outbox: FileOutbox, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_sql, "PRUNE_EVERY", 10)
        monkeypatch.setattr(file_sql, "FLOORS", 3)
        users = [UserKey("clinic", str(number)) for number in range(10)]
        change = said()
        await outbox.append(users[0], [change])
        for user in users:
            clock.advance(1)
            await outbox.ack(Claim(user, (), "token"), (), 4)
        floors = [(await outbox.pending(user)).floor for user in users]
        assert floors == [4, 0, 0, 0, 0, 0, 4, 4, 4, 4], "the first has a change waiting, the last is new"
        clock.advance(91 * 86_400)
        for number in range(10, 20):
            await outbox.append(UserKey("clinic", str(number)), [said()])
        assert [(await outbox.pending(user)).floor for user in users[1:]] == [0] * 9
        assert await outbox.pending(users[0]) == Pending((change,), 4)
