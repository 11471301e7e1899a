"""What an agent notices of outages: as little as can be. Stores that fail or hang, in virtual time."""

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from edgememory import EdgeMemory, NotCommittedError, NotDurableError, Session, StoreError
from edgememory.look import REFRESH_AGE
from edgememory.outbox import writer
from edgememory.testing.talk import Talk
from tests.unit.fakes import ANNA, NOW, FakeOutbox
from tests.unit.outages import BROKEN, UNAVAILABLE, World, anyio_backend, memory, taking, texts, world

__all__ = ["anyio_backend", "memory", "world"]


# Opening


@pytest.mark.parametrize("timeout", [0.1, 0.5, 3.0])
async def test_opening_is_bounded_when_everything_hangs_and_never_raises(
    world: World, memory: EdgeMemory, timeout: float
) -> None:
    await world.knows_anna()
    for switch in (world.origin.switch, world.outbox.switch, world.cache.switch):
        switch.hang()
    began = anyio.current_time()
    async with memory.session("anna", timeout=timeout, leave_timeout=1) as session:
        assert anyio.current_time() - began <= timeout
        assert session.degraded
        assert session.context() == ""
        session.add_message("user", "hello?")
        assert texts(session) == ["hello?"]


async def test_what_arrives_late_is_adopted(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    world.origin.switch.hang()
    async with memory.session("anna") as session:
        assert session.degraded
        session.add_message("user", "hello?")
        world.origin.switch.heal()
        await trio.testing.wait_all_tasks_blocked()
        assert texts(session) == ["in the call before", "hello?"]
        assert not session.degraded
        session.remember("said with knowledge")
        await session.committed()
    assert world.origin.texts(ANNA) == ["in the call before", "hello?"]


@pytest.mark.parametrize("error", [UNAVAILABLE, BROKEN])
async def test_opening_while_every_store_fails_is_empty_and_degraded(
    world: World, memory: EdgeMemory, error: Exception
) -> None:
    for switch in (world.origin.switch, world.outbox.switch, world.cache.switch):
        switch.fail(error)
    async with memory.session("anna") as session:
        assert session.degraded
        assert not session.snapshot.exists
    assert memory.counters.reads_degraded == 1


async def test_another_process_sees_what_waits_in_the_outbox_they_share(world: World, memory: EdgeMemory) -> None:
    world.origin.switch.hang("commit")
    world.cache.switch.fail(UNAVAILABLE)
    async with memory.session("anna") as session:
        session.add_message("user", "just said")
    async with world.host() as other, other.session("anna") as later:
        assert texts(later) == ["just said"]
        world.origin.switch.heal()


async def test_another_process_reads_at_least_what_their_outbox_has_delivered(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    await memory.warm("anna")
    world.cache.switch.fail(UNAVAILABLE, "put")
    async with memory.session("anna") as session:
        session.add_message("user", "delivered")
        await session.committed()
    async with world.host() as other, other.session("anna") as later:
        assert texts(later) == ["in the call before", "delivered"]


async def test_a_later_session_sees_what_is_not_durable_yet(world: World, memory: EdgeMemory) -> None:
    world.outbox.switch.hang("append")
    async with memory.session("anna", leave_timeout=0.1) as session:
        session.add_message("user", "just said")
    async with memory.session("anna") as later:
        assert texts(later) == ["just said"]
        assert later.durable, "all of its own changes are"


@pytest.mark.parametrize("outbox_fails_by", ["hanging", "refusing"])
async def test_an_outbox_that_does_not_answer_leaves_time_for_the_caches(
    world: World, memory: EdgeMemory, outbox_fails_by: str
) -> None:
    await world.knows_anna()
    if outbox_fails_by == "hanging":
        world.outbox.switch.hang("pending")
    else:
        world.outbox.switch.fail(BROKEN, "pending")
    async with memory.session("anna", leave_timeout=0.1) as session:
        assert texts(session) == ["in the call before"]
        assert session.degraded, "what waits in the outbox is not shown"


async def test_a_version_that_cannot_be_had_is_degraded_until_it_arrives(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    await memory.warm("anna")
    world.origin.switch.hang()
    async with memory.session("anna", at_least=2) as session:
        assert session.degraded
        assert texts(session) == ["in the call before"]
        await world.origin.commit_raw(ANNA, [Talk(base=1, started=NOW).says("elsewhere")])
        world.origin.switch.heal()
        await trio.testing.wait_all_tasks_blocked()
        assert not session.degraded
        assert texts(session) == ["in the call before", "elsewhere"]


async def test_a_version_that_nobody_has_stays_degraded(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    async with memory.session("anna", at_least=99) as session:
        assert session.degraded
        await anyio.sleep(REFRESH_AGE + 1)
        await memory.warm("anna")
        await trio.testing.wait_all_tasks_blocked()
        assert session.degraded


async def test_a_session_on_an_older_entry_adopts_the_origin_s(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    await memory.warm("anna")
    await anyio.sleep(REFRESH_AGE + 1)
    await world.origin.commit_raw(ANNA, [Talk(base=1, started=NOW).says("elsewhere")])
    async with memory.session("anna") as session:
        await trio.testing.wait_all_tasks_blocked()
        assert texts(session) == ["in the call before", "elsewhere"]


async def test_looking_up_a_profile_is_bounded_and_never_raises(world: World, memory: EdgeMemory) -> None:
    world.origin.switch.hang()
    world.cache.switch.fail(UNAVAILABLE)
    async with taking(0.5):
        assert not (await memory.get_profile("anna")).exists
    assert (await memory.warm("anna", timeout=0.1)).status == "degraded"


async def test_opening_the_memory_waits_for_no_connection(world: World) -> None:
    world.cache.switch.hang("warm")
    async with taking(0), world.host() as memory, memory.session("anna"):
        pass


@pytest.mark.parametrize("how", ["hangs", "fails"])
async def test_the_memory_opens_although_its_outbox_does_not_answer(world: World, how: str) -> None:
    if how == "hangs":
        world.outbox.switch.hang("depth")
    else:
        world.outbox.switch.fail(BROKEN, "depth")
    with anyio.fail_after(6):
        async with world.host() as memory:
            async with memory.session("anna") as session:
                session.add_message("user", "hello")
            assert session.durable


# Leaving


async def test_leaving_waits_for_the_outbox_and_never_for_the_origin(world: World, memory: EdgeMemory) -> None:
    world.origin.switch.hang("commit")
    async with taking(0):
        async with memory.session("anna") as session:
            session.add_message("user", "goodbye")
        assert session.durable
    assert len((await world.outbox.pending(ANNA)).changes) == 1


async def test_leaving_waits_until_a_slow_outbox_has_it(world: World, memory: EdgeMemory) -> None:
    async with anyio.create_task_group() as group, taking(0.5):
        world.outbox.switch.hang("append")
        async with memory.session("anna") as session:
            session.add_message("user", "goodbye")
            group.start_soon(_shielded_heal, world)
        assert session.durable


async def test_leaving_has_it_delivered_at_once(world: World, memory: EdgeMemory) -> None:
    async with taking(0):
        async with memory.session("anna") as session:
            session.add_message("user", "goodbye")
        await trio.testing.wait_all_tasks_blocked()
        assert world.origin.texts(ANNA) == ["goodbye"]


async def test_leaving_shows_the_region_what_the_origin_does_not_know_yet(world: World, memory: EdgeMemory) -> None:
    world.origin.switch.hang("commit")
    async with memory.session("anna") as session:
        session.add_message("user", "goodbye")
    entry = await world.cache.get(ANNA)
    assert entry is not None
    assert entry.tentative_at > 0
    async with world.host(FakeOutbox()) as elsewhere, elsewhere.session("anna") as later:
        assert texts(later) == ["goodbye"]


async def test_a_session_that_never_saw_a_snapshot_shows_the_region_nothing(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    world.origin.switch.hang()
    async with memory.session("anna") as session:
        session.add_message("user", "goodbye")
    assert session.durable
    assert await world.cache.get(ANNA) is None


async def test_leaving_is_bounded_when_the_outbox_hangs_and_says_so(
    world: World, memory: EdgeMemory, caplog: pytest.LogCaptureFixture
) -> None:
    session = memory.session("anna", leave_timeout=1.5)
    async with session:
        world.outbox.switch.hang()
        session.add_message("user", "goodbye")
        began = anyio.current_time()
    assert anyio.current_time() - began == pytest.approx(1.5)
    assert not session.durable
    assert "before all its changes were durable" in caplog.text
    world.outbox.switch.heal()
    await memory.flush()
    assert session.durable


async def test_leaving_is_shielded_from_cancellation(world: World, memory: EdgeMemory) -> None:
    session = memory.session("anna")
    world.outbox.switch.hang("append")
    durable_when_left: list[bool] = []
    async with anyio.create_task_group() as group:

        async def call() -> None:
            try:
                async with session:
                    session.add_message("user", "goodbye")
                    await anyio.sleep_forever()
            finally:
                durable_when_left.append(session.durable)

        group.start_soon(call)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
        group.start_soon(_shielded_heal, world)
    assert durable_when_left == [True]
    assert len((await world.outbox.pending(ANNA)).changes) == 1
    assert await world.cache.get(ANNA) is not None


async def _shielded_heal(world: World) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.sleep(0.5)
        world.outbox.switch.heal()


async def test_a_failing_outbox_shows_in_durable_and_flush_raises(world: World, memory: EdgeMemory) -> None:
    async with memory.session("anna", leave_timeout=0.1) as session:
        assert session.durable
        world.outbox.switch.fail(BROKEN, "append")
        session.add_message("user", "hello")
        await anyio.sleep(60)
        assert not session.durable
        async with taking(5):
            with pytest.raises(NotDurableError, match="5 s"):
                await memory.flush()
    assert not session.durable
    world.outbox.switch.heal()
    await memory.flush(timeout=30)
    assert session.durable


async def test_a_full_queue_refuses_counts_and_shows_in_durable(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert writer.QUEUE_BYTES == 4 * 1024 * 1024
    async with world.host() as memory:
        async with memory.session("anna", leave_timeout=0.1) as session:
            world.outbox.switch.hang("append")
            for _ in range(5):
                session.add_message("user", "x" * 1024**2)
            assert len(session.snapshot.messages) == 3
            assert memory.counters.changes_overflowed == 2
            assert "a change was lost" in caplog.text
            world.outbox.switch.heal()
            await memory.flush()
            assert not session.durable, "two of its changes are lost"
            with pytest.raises(NotCommittedError):
                await session.committed()
        async with memory.session("anna") as later:
            assert later.durable


async def test_leaving_never_raises_whatever_fails(world: World, memory: EdgeMemory) -> None:
    session = memory.session("anna", leave_timeout=0.1)
    async with session:
        session.add_message("user", "hello")
        for switch in (world.origin.switch, world.outbox.switch, world.cache.switch):
            switch.fail(UNAVAILABLE)


# Delivery


async def test_what_was_left_during_an_outage_is_delivered_after_it(world: World, memory: EdgeMemory) -> None:
    world.origin.switch.fail(UNAVAILABLE)
    for number in range(3):
        async with memory.session("anna") as session:
            session.add_message("user", f"call {number}")
        assert session.durable
    await anyio.sleep(600)
    world.origin.switch.heal()
    await anyio.sleep(60)
    assert (await world.outbox.depth()).changes == 0
    assert world.origin.texts(ANNA) == ["call 0", "call 1", "call 2"]


async def test_closing_is_bounded_and_leaves_the_rest_to_the_next_process(world: World) -> None:
    async with world.host() as memory:
        async with memory.session("anna") as session:
            session.add_message("user", "goodbye")
        world.origin.switch.hang("commit")
        began = anyio.current_time()
    assert anyio.current_time() - began <= 2
    world.origin.switch.heal()
    async with world.host():
        await anyio.sleep(60)
    assert world.origin.texts(ANNA) == ["goodbye"]


async def test_closing_before_everything_was_durable_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.host() as memory:
        world.outbox.switch.hang("append")
        async with memory.session("anna", leave_timeout=0.1) as session:
            session.add_message("user", "goodbye")
    assert "closed before every change was durable" in caplog.text
    assert not session.durable


async def test_committed_hears_of_what_another_process_delivers(world: World, memory: EdgeMemory) -> None:
    world.outbox.switch.hang("claim")
    async with memory.session("anna") as session:
        session.add_message("user", "hello")
        await memory.flush()
        async with world.host(world.outbox.of_another_process()):
            with anyio.fail_after(60):
                assert await session.committed() == 1


async def test_committed_raises_for_an_outbox_that_cannot_be_asked(world: World, memory: EdgeMemory) -> None:
    async with memory.session("anna", leave_timeout=0.1) as session:
        world.outbox.switch.fail(BROKEN, "pending")
        with pytest.raises(StoreError):
            await session.committed()


@pytest.mark.parametrize("store", ["origin", "outbox"])
async def test_who_waits_for_the_origin_hears_that_the_memory_was_closed(world: World, store: str) -> None:
    async def wait(session: Session) -> None:
        with pytest.raises(NotCommittedError, match="closed"):
            await session.committed()

    async with anyio.create_task_group() as group:
        async with world.host() as memory, memory.session("anna") as session:
            getattr(world, store).switch.fail(UNAVAILABLE, "commit", "append")
            session.remember("never taken")
            group.start_soon(wait, session)
            await trio.testing.wait_all_tasks_blocked()
        group.cancel_scope.deadline = anyio.current_time() + 60
    assert not group.cancel_scope.cancelled_caught, "it waits no more"
