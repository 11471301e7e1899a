"""Races of a session with the writer and with delivery, in virtual time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest
import trio.testing

from edgememory import EdgeMemory
from edgememory.changes import Change
from edgememory.deletion import REPLAY_PATIENCE
from edgememory.errors import NotCommittedError, StoreRejectedError, StoreUnavailableError
from edgememory.models import Claim, Cleared, Entry, Pending, UserKey
from edgememory.tier import ReplicaTier, Tier
from tests.unit.fakes import ANNA, FakeCache, FakeOrigin, FakeOutbox, FakeReplica, parts, virtual_now

AWAY = StoreUnavailableError("connection refused", store="store", operation="any")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class SlowOutbox(FakeOutbox):
    """What it answers gets old on the way: each answer takes a while after it was made up."""

    def __init__(self) -> None:
        super().__init__()
        self.answers_take: dict[str, float] = {}

    async def append(self, user: UserKey, changes: Any) -> Pending:
        pending = await super().append(user, changes)
        await anyio.sleep(self.answers_take.get("append", 0))
        return pending

    async def pending(self, user: UserKey) -> Pending:
        pending = await super().pending(user)
        await anyio.sleep(self.answers_take.get("pending", 0))
        return pending

    async def ack(self, claim: Claim, ids: Any, version: int) -> None:
        await super().ack(claim, ids, version)
        await anyio.sleep(self.answers_take.get("ack", 0))


class WatchedCache(FakeCache):
    def __init__(self) -> None:
        super().__init__()
        self.offered: list[Entry] = []

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        self.offered.append(entry)
        return await super().put(user, entry, keep=keep)


@asynccontextmanager
async def process(origin: FakeOrigin, outbox: FakeOutbox, *caches: FakeCache) -> AsyncIterator[EdgeMemory]:
    memory = EdgeMemory(
        parts(origin, outbox, *caches), namespace=ANNA.namespace, now=virtual_now, monotonic=anyio.current_time
    )
    async with memory:
        yield memory
    assert memory.counters.background_errors == 0


async def test_what_moves_from_the_queue_to_the_outbox_while_a_session_opens_is_seen() -> None:
    origin, outbox = FakeOrigin(), SlowOutbox()
    async with process(origin, outbox) as memory:
        await memory.warm(ANNA.user_id)
        origin.switch.fail(AWAY)
        outbox.switch.hang("append")
        async with memory.session(ANNA.user_id, leave_timeout=0.1) as session:
            session.remember("said")
        outbox.answers_take["pending"] = 0.2
        async with anyio.create_task_group() as group:

            async def append_meanwhile() -> None:
                await anyio.sleep(0.1)
                outbox.switch.heal()

            group.start_soon(append_meanwhile)
            async with memory.session(ANNA.user_id) as session:
                assert (await FakeOutbox.pending(outbox, ANNA)).changes
                assert [fact.text for fact in session.snapshot.facts] == ["said"]


async def test_leaving_shows_what_another_process_made_durable_while_an_append_was_under_way() -> None:
    origin, outbox, cache = FakeOrigin(), SlowOutbox(), FakeCache()
    async with process(origin, outbox, cache) as memory, memory.session(ANNA.user_id) as session:
        origin.switch.fail(AWAY)
        outbox.answers_take["append"] = 1.0
        session.remember("said here")
        await trio.testing.wait_all_tasks_blocked()
        async with process(origin, outbox.of_another_process()) as other, other.session(ANNA.user_id) as another:
            another.remember("said there")
    entry = await cache.get(ANNA)
    assert entry is not None
    assert [fact.text for fact in entry.snapshot.facts] == ["said there", "said here"]


async def test_sessions_that_are_left_together_show_the_changes_of_each() -> None:
    origin, outbox, cache = FakeOrigin(), SlowOutbox(), FakeCache()
    outbox.answers_take["append"] = outbox.answers_take["pending"] = 0.1
    async with process(origin, outbox, cache) as memory:
        await memory.warm(ANNA.user_id)
        origin.switch.fail(AWAY)
        async with anyio.create_task_group() as group:

            async def call(text: str, takes: float) -> None:
                async with memory.session(ANNA.user_id) as session:
                    session.remember(text)
                    await anyio.sleep(takes)

            for number in range(6):
                group.start_soon(call, f"fact {number}", 0.03 * number)
        entry = await cache.get(ANNA)
        assert entry is not None
        assert {fact.text for fact in entry.snapshot.facts} == {f"fact {number}" for number in range(6)}


async def test_closing_waits_until_what_is_queued_is_durable() -> None:
    outbox = FakeOutbox()
    outbox.switch.hang("append")
    async with anyio.create_task_group() as group:

        async def recover() -> None:
            await anyio.sleep(1.0)
            outbox.switch.heal()

        async with process(FakeOrigin(), outbox) as memory:
            async with memory.session(ANNA.user_id, leave_timeout=0.1) as session:
                session.remember("said")
            assert not session.durable
            group.start_soon(recover)
    assert (await outbox.pending(ANNA)).floor or (await outbox.pending(ANNA)).changes


async def test_what_is_refused_while_a_session_is_left_is_not_shown_for_good() -> None:
    """The outbox had it when it was asked; the entry that it is laid over came later, from after the refusal."""
    origin, outbox, cache = FakeOrigin(), SlowOutbox(), FakeCache()

    def refuse(user: UserKey, changes: Sequence[Change]) -> None:
        if changes:
            raise StoreRejectedError("invalid value", store="origin", operation="commit")

    origin.judge = refuse
    async with process(origin, outbox, cache) as memory, anyio.create_task_group() as group:
        await memory.warm(ANNA.user_id)
        outbox.answers_take["append"] = 1.0

        async def call() -> None:
            async with memory.session(ANNA.user_id) as session:
                session.remember("refused")

        group.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        async with process(origin, outbox.of_another_process(), cache):
            await trio.testing.wait_all_tasks_blocked()
        assert (await outbox.depth()).dead == 1
        version = origin.state(ANNA).version
        async with memory.session(ANNA.user_id, at_least=version):
            pass  # this process knows the newest version now
    entry = await cache.get(ANNA)
    assert entry is not None
    assert (entry.snapshot.version, entry.snapshot.facts) == (version, ())


async def test_what_waits_in_the_outbox_is_shown_when_nothing_else_answers() -> None:
    origin, outbox, cache = FakeOrigin(), FakeOutbox(), FakeCache()
    origin.switch.fail(AWAY)
    cache.switch.fail(AWAY)
    async with process(origin, outbox, cache) as memory, memory.session(ANNA.user_id) as session:
        session.remember("said")
    async with process(origin, outbox, cache) as memory, memory.session(ANNA.user_id) as session:
        assert session.degraded
        assert [fact.text for fact in session.snapshot.facts] == ["said"]


async def test_what_waits_from_before_a_deletion_is_shown_no_more_where_the_deletion_is_known() -> None:
    origin, outbox = FakeOrigin(), FakeOutbox()
    async with process(origin, outbox) as memory:
        async with memory.session(ANNA.user_id) as session:
            await anyio.sleep(1)
            origin.switch.fail(AWAY, "commit", "get")
            outbox.switch.hang("append")
            session.remember("said")
            await memory.delete_user(ANNA.user_id)
            outbox.switch.heal()
        await anyio.sleep(4000)  # process memory has dropped the tombstone
        assert (await outbox.pending(ANNA)).changes
        async with memory.session(ANNA.user_id) as session:
            assert session.degraded
            assert not session.snapshot.facts


async def test_a_session_that_ends_while_it_is_left_shows_the_deleted_to_no_cache() -> None:
    origin, outbox, cache = FakeOrigin(), FakeOutbox(), WatchedCache()
    async with process(origin, outbox, cache) as memory, anyio.create_task_group() as group:

        async def call() -> None:
            async with memory.session(ANNA.user_id) as session:
                outbox.switch.hang("append")
                session.remember("said")

        async with memory.session(ANNA.user_id) as session:
            session.remember("before")
        await anyio.sleep(1)
        group.start_soon(call)
        await anyio.sleep(1)
        cache.switch.fail(AWAY)
        await memory.delete_user(ANNA.user_id)
        cache._drop(ANNA)
        cache.switch.heal()
        origin.switch.fail(AWAY, "commit")
        cache.offered.clear()
        outbox.switch.heal()
    assert not any(entry.snapshot.facts for entry in cache.offered)


async def test_committed_hears_of_a_drop_though_the_outbox_is_empty_before_its_answer_arrives() -> None:
    origin, outbox = FakeOrigin(), SlowOutbox()
    outbox.answers_take["ack"] = 3.0
    async with process(origin, outbox) as memory, memory.session(ANNA.user_id) as session:
        await origin.delete(ANNA)
        session.remember("too late")
        with pytest.raises(NotCommittedError):
            await session.committed()


async def test_an_ended_session_has_committed_nothing() -> None:
    async with process(FakeOrigin(), FakeOutbox()) as memory, memory.session(ANNA.user_id) as session:
        session.remember("said")
        await anyio.sleep(1)
        await memory.delete_user(ANNA.user_id)
        assert session.ended
        with pytest.raises(NotCommittedError):
            await session.committed()


async def test_what_arrives_after_the_deadline_is_adopted_by_the_open_session() -> None:
    origin, outbox = FakeOrigin(), FakeOutbox()
    async with process(origin, outbox) as memory, memory.session(ANNA.user_id) as session:
        session.remember("before")
    origin.switch.hang("get")
    async with process(origin, outbox) as memory, memory.session(ANNA.user_id) as session:
        assert session.degraded
        session.remember("now")
        origin.switch.heal()
        await trio.testing.wait_all_tasks_blocked()
        assert not session.degraded
        assert [fact.text for fact in session.snapshot.facts] == ["now", "before"]


@asynccontextmanager
async def replicated(origin: FakeOrigin, replica: FakeReplica) -> AsyncIterator[EdgeMemory]:
    tier: ReplicaTier = Tier(name="replica", store=replica, timeout=1.0, monotonic=anyio.current_time)
    async with EdgeMemory(
        replace(parts(origin, FakeOutbox()), replica=tier),
        namespace=ANNA.namespace,
        now=virtual_now,
        monotonic=anyio.current_time,
    ) as memory:
        yield memory


async def at_the_replica(memory: EdgeMemory) -> Cleared:
    receipt = await memory.delete_user(ANNA.user_id)
    (cleared,) = (store for store in receipt.stores if store.store.startswith("replica"))
    return cleared


async def test_a_deletion_says_that_a_replica_has_not_heard_of_it() -> None:
    async with replicated(FakeOrigin(), FakeReplica(FakeOrigin())) as memory:
        assert await at_the_replica(memory) == Cleared(
            store="replica near", cleared=False, error="it has not replayed the deletion yet"
        )


async def test_a_deletion_says_that_a_replica_is_away_and_does_not_wait_for_it() -> None:
    origin = FakeOrigin()
    replica = FakeReplica(origin)
    replica.switch.fail(StoreUnavailableError("connection refused", store="replica near", operation="get"))
    async with replicated(origin, replica) as memory:
        began = anyio.current_time()
        assert await at_the_replica(memory) == Cleared(
            store="replica near", cleared=False, error="replica near.get: connection refused"
        )
        assert anyio.current_time() == began


async def test_a_deletion_waits_a_moment_for_a_replica_to_replay_it() -> None:
    origin = FakeOrigin()
    replica = FakeReplica(FakeOrigin())
    async with replicated(origin, replica) as memory, anyio.create_task_group() as group:

        async def catches_up() -> None:
            await anyio.sleep(REPLAY_PATIENCE / 2)
            replica.origin = origin

        group.start_soon(catches_up)
        cleared = await at_the_replica(memory)
        assert cleared.cleared
        assert cleared.effective_by is not None
        assert cleared.effective_by.timestamp() == pytest.approx(virtual_now())


async def test_a_replica_that_never_answers_does_not_keep_a_deletion() -> None:
    origin = FakeOrigin()
    replica = FakeReplica(origin)
    replica.switch.hang("get")
    async with replicated(origin, replica) as memory:
        cleared = await at_the_replica(memory)
        assert (cleared.store, cleared.cleared) == ("replica", False)
