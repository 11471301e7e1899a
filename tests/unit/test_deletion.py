"""Deleting a user while stores fail: what the receipt says, and who shows what."""

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from edgememory import EdgeMemory, NotCommittedError, StoreError
from edgememory.breaker import FAILURES_TO_OPEN
from edgememory.freshness import Policy
from edgememory.testing.talk import Talk
from tests.unit.fakes import ANNA, NOW, FakeOutbox
from tests.unit.outages import BROKEN, UNAVAILABLE, World, anyio_backend, memory, taking, texts, world

__all__ = ["anyio_backend", "memory", "world"]


async def test_a_deletion_that_the_origin_did_not_take_raises_and_deletes_nothing(
    world: World, memory: EdgeMemory
) -> None:
    await world.knows_anna()
    async with memory.session("anna") as session:
        for error in (UNAVAILABLE, BROKEN):
            world.origin.switch.fail(error)
            with pytest.raises(StoreError):
                await memory.delete_user("anna")
        assert not session.ended
        assert texts(session) == ["in the call before"]


async def test_a_deletion_names_the_stores_that_were_not_cleared(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    await memory.warm("anna")
    world.cache.switch.fail(UNAVAILABLE, "put")
    world.outbox.switch.fail(BROKEN, "pending")
    receipt = await memory.delete_user("anna")
    problems = {store.store: store.error or "" for store in receipt.stores if not store.cleared}
    assert set(problems) == {"memory of other processes", "cache-0", "outbox"}
    assert "connection refused" in problems["cache-0"]
    assert "disk is full" in problems["outbox"]


async def test_other_processes_count_as_cleared_only_where_no_store_can_confirm_what_they_hold(
    world: World, memory: EdgeMemory
) -> None:
    await world.knows_anna()
    async with world.host() as other:
        await other.warm("anna")
        await trio.testing.wait_all_tasks_blocked()
        world.cache.switch.fail(UNAVAILABLE, "put")
        receipt = await memory.delete_user("anna")
        world.origin.switch.fail(UNAVAILABLE)
        await anyio.sleep(Policy().near_keep - 60)
        await other.warm("anna")
        world.cache.switch.fail(UNAVAILABLE)
        await anyio.sleep(Policy().near_keep - 60)
        read = await other.warm("anna")
        assert (read.tier, read.snapshot.exists) == ("memory", True), "the cache has confirmed it"
    (elsewhere,) = (store for store in receipt.stores if store.store == "memory of other processes")
    assert not elsewhere.cleared
    assert "cache-0" in (elsewhere.error or "")


async def test_other_processes_may_hold_what_was_deleted_for_as_long_after_a_cache_has_shown_it(
    world: World, memory: EdgeMemory
) -> None:
    world.cache.cleared_after = 60.0
    receipt = await memory.delete_user("anna")
    by = {store.store: store.effective_by.timestamp() for store in receipt.stores if store.effective_by is not None}
    assert by["memory of other processes"] == by["cache-0"] + Policy().near_keep == by["memory"] + 3660


async def test_a_deletion_counts_what_is_on_its_way_to_the_outbox(world: World, memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        session.remember("taken")
        await session.committed()
        world.outbox.switch.fail(BROKEN, "append")
        session.remember("of the deleted")
        receipt = await memory.delete_user("anna")
        assert receipt.dropped == 1
        assert "outbox" in {store.store for store in receipt.stores if not store.cleared}
        world.outbox.switch.heal()
        await memory.flush(timeout=60)


async def test_a_cache_that_was_not_even_asked_is_not_cleared(world: World, memory: EdgeMemory) -> None:
    world.cache.switch.fail(UNAVAILABLE, "get", "put")
    for number in range(FAILURES_TO_OPEN):
        await memory.warm(f"caller {number}")
    receipt = await memory.delete_user("anna")
    (cache,) = (store for store in receipt.stores if store.store == "cache-0")
    assert not cache.cleared
    assert "not asked" in (cache.error or "")


async def test_a_deletion_takes_what_waits_to_the_origin_at_once(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    await trio.testing.wait_all_tasks_blocked()
    await world.outbox.append(ANNA, [Talk(base=1, started=NOW).says("of the deleted")])
    async with taking(0):
        receipt = await memory.delete_user("anna")
        assert receipt.dropped == 1
        await trio.testing.wait_all_tasks_blocked()
        assert (await world.outbox.depth()).changes == 0
    assert memory.counters.changes_dropped == 1


async def test_a_deletion_elsewhere_ends_the_session_when_the_origin_says_so(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    async with memory.session("anna") as session:
        await anyio.sleep(1)
        session.add_message("user", "of the deleted")
        async with world.host(FakeOutbox()) as elsewhere:
            await elsewhere.delete_user("anna")
        assert not session.ended
        with pytest.raises(NotCommittedError):
            await session.committed()
        assert session.ended
        assert session.context() == ""
    assert not world.origin.state(ANNA).exists
    entry = await world.cache.get(ANNA)
    assert entry is not None
    assert entry.snapshot.is_tombstone
    assert memory.counters.changes_dropped == 1
