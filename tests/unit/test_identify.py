"""A caller who is known only later: what was said before is nobody's, and then all of it is theirs."""

from typing import cast

import anyio
import pytest
from msgspec.structs import replace

from edgememory import EdgeMemory, InvalidInputError, NotCommittedError, Session
from edgememory.limits import LIMITS
from edgememory.outbox.writer import QUEUE_BYTES
from edgememory.testing.talk import Talk
from tests.unit.fakes import ANNA, BERT, NOW
from tests.unit.outages import UNAVAILABLE, World, anyio_backend, memory, texts, world

__all__ = ["anyio_backend", "memory", "world"]


async def begun(session: Session) -> None:
    """Wait until somebody is being identified."""
    while session.user_id is None:
        await anyio.lowlevel.checkpoint()


async def test_what_was_said_before_follows_what_was_known_and_is_kept(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    async with memory.session(None) as session:
        session.add_message("user", "It is me")
        session.add_message("assistant", "Who is it?")
        assert (session.user_id, texts(session), session.snapshot.name) == (None, ["It is me", "Who is it?"], None)
        await session.identify("anna")
        session.add_message("user", "Anna")
        assert (session.user_id, session.snapshot.name) == ("anna", "Anna")
        assert texts(session) == ["in the call before", "It is me", "Who is it?", "Anna"]
        await session.committed()
    assert world.origin.texts(ANNA) == ["in the call before", "It is me", "Who is it?", "Anna"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_caller_is_identified_on_asyncio_too(anyio_backend: str) -> None:
    async with EdgeMemory.in_memory() as memory, memory.session(None) as session:
        session.remember("Has a dog")
        await session.identify("anna")
        await session.committed()
        assert [fact.text for fact in (await memory.get_profile("anna")).facts] == ["Has a dog"]


async def test_until_then_nothing_leaves_the_process_and_then_all_in_one_step(world: World, memory: EdgeMemory) -> None:
    async with memory.session(None) as session:
        for number in range(5):
            session.add_message("user", f"{number}")
            await anyio.sleep(1)
        assert not session.durable
        assert "append" not in world.outbox.switch.asked
        await session.identify("anna")
        await memory.flush()
        assert world.outbox.switch.asked.count("append") == 1
        assert session.durable


async def test_who_was_never_identified_leaves_nothing_behind_and_is_counted(world: World, memory: EdgeMemory) -> None:
    async with memory.session(None) as session:
        session.add_message("user", "Wrong number")
        session.set_name("Nobody")
    session.add_message("user", "Sorry")
    assert memory.counters.changes_unidentified == 3
    await memory.flush()
    assert (await world.outbox.depth()).changes == 0
    assert not world.origin.commits


async def test_what_was_said_before_wins_over_what_is_older_though_this_host_s_clock_is_behind(
    world: World, memory: EdgeMemory
) -> None:
    ahead = replace(Talk(base=0, started=NOW).is_called("Ana"), id="0fffffff-ffff-7000-8000-000000000000")
    await world.origin.commit(ANNA, [ahead])
    async with memory.session(None) as session:
        session.set_name("Anne")
        session.set_name("Anna")
        await session.identify("anna")
        assert session.snapshot.name == "Anna"
        await session.committed()
    assert world.origin.state(ANNA).name == "Anna"


async def test_a_deletion_before_the_caller_was_identified_drops_nothing(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    async with memory.session(None) as session:
        session.add_message("user", "Forget me, then book me a table")
        await anyio.sleep(5)
        await memory.delete_user("anna")
        await session.identify("anna")
        assert texts(session) == ["Forget me, then book me a table"]
        await session.committed()
    assert world.origin.texts(ANNA) == ["Forget me, then book me a table"]


async def test_an_outage_does_not_raise_and_what_was_said_arrives_when_it_is_over(
    world: World, memory: EdgeMemory
) -> None:
    await world.knows_anna()
    for switch in (world.origin.switch, world.outbox.switch, world.cache.switch):
        switch.fail(UNAVAILABLE)
    async with memory.session(None) as session:
        session.add_message("user", "It is me")
        await session.identify("anna")
        assert (session.degraded, session.user_id, texts(session)) == (True, "anna", ["It is me"])
        for switch in (world.origin.switch, world.outbox.switch, world.cache.switch):
            switch.heal()
        await session.committed()
    assert world.origin.texts(ANNA) == ["in the call before", "It is me"]


async def test_who_gives_up_identifying_may_try_again(world: World, memory: EdgeMemory) -> None:
    world.outbox.switch.hang("pending")
    async with memory.session(None, timeout=3.0) as session:
        session.add_message("user", "It is me")
        with anyio.move_on_after(0.1) as scope:
            await session.identify("anna")
        assert scope.cancelled_caught
        assert session.user_id is None
        world.outbox.switch.heal()
        await session.identify("bert")
        await session.committed()
    assert world.origin.texts(BERT) == ["It is me"]
    assert world.origin.texts(ANNA) == []


async def test_who_identifies_the_same_caller_meanwhile_has_the_memory_too(world: World, memory: EdgeMemory) -> None:
    await world.knows_anna()
    world.cache.switch.hang("get")
    async with memory.session(None, timeout=3.0) as session, anyio.create_task_group() as group:
        group.start_soon(session.identify, "anna")
        await begun(session)
        world.cache.switch.heal()
        await session.identify("anna")
        assert session.snapshot.name == "Anna"


async def test_where_one_gives_up_identifying_the_next_one_does_it(world: World, memory: EdgeMemory) -> None:
    world.outbox.switch.hang("pending")
    async with memory.session(None, timeout=3.0) as session, anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as impatient:
                impatient.start_soon(session.identify, "anna")
                await begun(session)
                group.start_soon(session.identify, "bert")
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        await begun(session)
        assert session.user_id == "bert"
        world.outbox.switch.heal()


async def test_a_caller_who_hangs_up_while_being_identified_has_said_it(world: World, memory: EdgeMemory) -> None:
    world.origin.switch.hang("get")
    async with anyio.create_task_group() as group:
        async with memory.session(None) as session:
            session.add_message("user", "It is me, bye")
            group.start_soon(session.identify, "anna")
            await begun(session)
        assert session.durable
    world.origin.switch.heal()
    await session.committed()
    assert world.origin.texts(ANNA) == ["It is me, bye"]


async def test_a_session_cancelled_while_its_caller_is_identified_keeps_no_listener(
    world: World, memory: EdgeMemory
) -> None:
    world.origin.switch.hang("get")
    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as call:
            async with memory.session(None) as session:
                session.add_message("user", "It is me")
                group.start_soon(session.identify, "anna")
                await begun(session)
                call.cancel()
    assert not memory._opened().sessions.of(ANNA)


async def test_one_session_is_one_user_s(memory: EdgeMemory) -> None:
    async with memory.session(None) as session:
        await session.identify("anna")
        await session.identify("anna")
        with pytest.raises(InvalidInputError, match="open one for each user"):
            await session.identify("bert")
    async with memory.session("anna") as session:
        await session.identify("anna")
        with pytest.raises(InvalidInputError, match="open one for each user"):
            await session.identify("bert")
    async with memory.session(None) as session:
        with pytest.raises(InvalidInputError, match=r"user_id .*empty"):
            await session.identify("")
        with pytest.raises(InvalidInputError, match=r"user_id .*string"):
            await session.identify(cast(str, None))
        with pytest.raises(NotCommittedError, match=r"session\.identify"):
            await session.committed()


async def test_a_caller_who_talks_for_ever_does_not_fill_the_process(memory: EdgeMemory) -> None:
    async with memory.session(None) as session:
        for _ in range(QUEUE_BYTES // LIMITS.message + 1):
            session.add_message("user", "x" * LIMITS.message)
        assert memory.counters.changes_overflowed > 0
        assert len(session.snapshot.messages) * LIMITS.message < QUEUE_BYTES


async def test_what_was_said_before_is_found(memory: EdgeMemory) -> None:
    async with memory.session(None) as session:
        session.add_message("user", "My dog is called Rex")
        assert [match.text for match in await session.recall("dog", deep=True)] == ["My dog is called Rex"]
        await session.identify("anna")
        assert [match.text for match in await session.recall("dog")] == ["My dog is called Rex"]
