"""The outbox of the Durable Objects on the real Worker, on workerd."""

from collections.abc import AsyncIterator

import httpx
import pytest

from edgememory.errors import OutboxFullError
from edgememory.keys import entry_key
from edgememory.models import UserKey
from edgememory.outbox.workers import WorkersOutbox
from edgememory.stores.workers_kv import WorkersKVStore
from edgememory.testing.clock import ManualClock
from edgememory.testing.examples import entry_at
from edgememory.testing.outbox_contract import ANNA, BERT, OutboxContract, said
from tests.worker.server import TOKEN, WorkerServer

SECRET = "sixteen-characters"


class TestWorkersOutbox(OutboxContract):
    damaged = b"{"

    @pytest.fixture
    async def outbox(self, empty_worker: WorkerServer, clock: ManualClock) -> AsyncIterator[WorkersOutbox]:
        self.worker = empty_worker
        self.clock = clock
        self.opened: list[WorkersOutbox] = []
        yield await self.reopen()
        for outbox in self.opened:
            await outbox.aclose()

    async def reopen(self) -> WorkersOutbox:
        self.opened.append(WorkersOutbox(self.worker.url, TOKEN, key_secret=SECRET, now=self.clock.now))
        return self.opened[-1]

    async def raw_pending(self, user: UserKey) -> list[str]:
        return self.worker.pending_ids(user, SECRET)

    async def raw_damage(self, user: UserKey, id: str) -> None:
        self.worker.damage(user, id, self.damaged.decode(), SECRET)

    async def test_one_request_brings_the_entry_and_what_waits(self, outbox: WorkersOutbox) -> None:
        user = UserKey("contract", entry_key(ANNA) + str(self.clock.now()))
        assert (await outbox.pending(user)).beside is None
        store = WorkersKVStore(self.worker.url, TOKEN, key_secret=SECRET)
        await store.put(user, entry_at(5), keep=60)
        change = said()
        await outbox.append(user, [change])
        pending = await outbox.pending(user)
        assert (pending.changes, pending.beside) == ((change,), entry_at(5))
        await store.aclose()

    async def test_an_entry_that_is_none_is_left_to_whoever_asks_the_cache(self, outbox: WorkersOutbox) -> None:
        user = UserKey("contract", "spoilt")
        self.worker.spoil(entry_key(user, secret=SECRET), b"no entry")
        await outbox.append(user, [change := said()])
        pending = await outbox.pending(user)
        assert (pending.changes, pending) == ((change,), type(pending)((change,), 0))

    async def test_more_may_be_asked_for_than_one_answer_holds(self, outbox: WorkersOutbox) -> None:
        await outbox.append(ANNA, [change := said()])
        [claim] = await outbox.claim(lease=30, limit=1_000)
        await outbox.reject(claim, [change.id], "no")
        assert [letter.id for letter in await outbox.dead_letters(limit=1_000)] == [change.id]

    async def test_what_is_too_much_for_one_request_goes_in_several(self, outbox: WorkersOutbox) -> None:
        changes = [said("\n" * 1_000_000) for _ in range(3)]  # 3 MB each, in JSON within JSON
        assert (await outbox.append(ANNA, changes)).changes == tuple(changes)

    async def test_a_user_whose_outbox_is_full_is_told_so_and_loses_nothing(self, outbox: WorkersOutbox) -> None:
        changes = [said("x" * 1024 * 1024) for _ in range(7)]
        await outbox.append(ANNA, changes)
        with pytest.raises(OutboxFullError, match="8 MiB"):
            await outbox.append(ANNA, [said("x" * 1024 * 1024)])
        assert (await outbox.append(BERT, [said()])).changes
        assert await self.raw_pending(ANNA) == [change.id for change in changes]

    async def test_what_has_died_before_the_container_is_adopted_by_another(
        self, outbox: WorkersOutbox, clock: ManualClock
    ) -> None:
        changes = [said() for _ in range(3)]
        await outbox.append(ANNA, changes)
        await self.claim_one(outbox, lease=30)
        clock.advance(30)
        other = await self.reopen()
        [claim] = await other.claim(lease=30, limit=10)
        assert claim.changes == tuple(changes)

    @pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
    async def test_it_asks_once_for_each_call(self, empty_worker: WorkerServer, anyio_backend: str) -> None:
        asked: list[str] = []

        async def count(request: httpx.Request) -> None:
            asked.append(f"{request.method} {request.url.query.decode()}")

        async with httpx.AsyncClient(event_hooks={"request": [count]}) as client:
            outbox = WorkersOutbox(empty_worker.url, TOKEN, key_secret=SECRET, client=client)
            await outbox.append(ANNA, [said()])
            await outbox.pending(ANNA)
            [claim] = await outbox.claim(lease=30, limit=1)
            await outbox.ack(claim, [change.id for change in claim.changes], 7)
            assert (await outbox.depth()).changes == 0
        assert len(asked) == 5
