"""Sessions and EdgeMemory as an agent uses them, everything in process memory."""

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from edgememory import EdgeMemory, EdgeMemoryError, InvalidInputError, NotCommittedError, Parts, Session, Tier
from edgememory.models import UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.testing.examples import AWKWARD_IDS
from edgememory.testing.talk import Talk
from tests.unit.hosts import World, anyio_backend, memory, texts

__all__ = ["anyio_backend", "memory"]

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def facts(session: Session) -> list[str]:
    return [fact.text for fact in session.snapshot.facts]


# What a session does


async def test_what_is_said_in_knowledge_of_the_earlier_wins_though_this_host_s_clock_is_behind() -> None:
    world = World()
    ahead = replace(Talk(base=0, started=4e9).is_called("Ana"), id="0fffffff-ffff-7000-8000-000000000000")
    await world.origin.commit(UserKey("default", "anna"), [ahead])
    async with world.host() as memory, memory.session("anna") as session:
        assert session.snapshot.name == "Ana"
        session.set_name("Anna")
        assert session.snapshot.name == "Anna"
        await session.committed()
    assert world.origin.state(UserKey("default", "anna")).name == "Anna"


async def test_every_change_shows_at_once_and_reaches_the_origin(memory: EdgeMemory) -> None:
    async with memory.session("anna", session_id="call-1", agent_id="desk") as session:
        session.add_message("user", "Hello", at=AT, metadata={"channel": 1, "loud": True, "gain": 0.5, "who": None})
        session.add_message("assistant", "Good mor", interrupted=True)
        session.remember("Has a dog", importance=1)
        session.remember("Lives in Bern")
        session.remember("Lives in Lisbon", importance=9, replaces="lives in  BERN")
        session.remember("Likes tea")
        session.forget("likes TEA")
        session.set_preference("tone", "short")
        session.set_preference("speed", 0)
        session.set_preference("volume", 3)
        session.set_preference("volume", None)
        session.set_name("Anna")
        session.add_summary("She said hello.")
        shown = session.snapshot
        assert session.durable is False
        await session.committed()
    assert session.durable
    async with memory.session("anna") as later:
        committed = later.snapshot
    for snapshot in (shown, committed):
        assert [(message.role, message.text, message.interrupted) for message in snapshot.messages] == [
            ("user", "Hello", False),
            ("assistant", "Good mor", True),
        ]
        assert {(message.session_id, message.agent_id) for message in snapshot.messages} == {("call-1", "desk")}
        assert snapshot.messages[0].at == AT
        assert [(fact.text, fact.importance) for fact in snapshot.facts] == [("Lives in Lisbon", 9), ("Has a dog", 1)]
        kept = {
            preference.name: preference.value for preference in snapshot.preferences if preference.value is not None
        }
        assert kept == {"tone": "short", "speed": 0}
        assert snapshot.name == "Anna"
        assert [summary.text for summary in snapshot.summaries] == ["She said hello."]
    history = await memory.get_messages("anna")
    assert history.items[-1].metadata == {"channel": 1, "loud": True, "gain": 0.5, "who": None}


async def test_an_empty_text_is_no_message(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        session.add_message("assistant", "")
        assert texts(session) == []
    assert memory.counters.changes_made == 0


async def test_saying_a_fact_twice_is_one_fact(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        session.remember("Lives in Lisbon")
        session.remember("lives  in LISBON")
        assert facts(session) == ["lives  in LISBON"]


async def test_the_context_leaves_out_what_was_said_in_this_call(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        session.add_message("user", "from the first call")
        assert session.context() == ""
    async with memory.session("anna") as later:
        later.add_message("user", "from the second call")
        assert "from the first call" in later.context()
        assert "from the second call" not in later.context()
        assert later.context(max_tokens=1) == ""
        assert later.context(count_tokens=lambda text: 1000) == ""


@pytest.mark.parametrize("max_tokens", [-1, 2.5, True, "500", None])
async def test_a_number_of_tokens_that_is_none_is_refused(memory: EdgeMemory, max_tokens: int) -> None:
    async with memory.session("anna") as session:
        with pytest.raises(InvalidInputError, match="max_tokens must be a whole number of tokens from 0, such as 500"):
            session.context(max_tokens=max_tokens)


async def test_a_later_session_sees_what_the_origin_does_not_know_yet() -> None:
    world = World()
    async with world.host(close_timeout=0.01) as memory:
        world.origin.commit = _never  # type: ignore[method-assign]  # the origin hangs
        async with memory.session("anna") as session:
            session.add_message("user", "just said")
        async with memory.session("anna") as later:
            assert texts(later) == ["just said"]
            assert not later.degraded
        assert (await memory.get_profile("anna")).messages[0].text == "just said"


async def _never(*_: object) -> Any:
    await anyio.sleep_forever()


async def test_two_open_sessions_of_one_user_both_keep_their_changes(memory: EdgeMemory) -> None:
    async with memory.session("anna") as one, memory.session("anna") as two:
        one.add_message("user", "one")
        two.add_message("user", "two")
        await one.committed()
        await two.committed()
        assert "one" in texts(two), "the origin's answer was adopted"
        assert "two" in texts(two)
    async with memory.session("anna") as later:
        assert sorted(texts(later)) == ["one", "two"]


async def test_committed_returns_a_version_that_shows_the_changes_elsewhere() -> None:
    world = World()
    elsewhere = Parts(origin=Tier(name="origin", store=world.origin, timeout=1.0), outbox=MemoryOutbox())
    async with world.host() as here, EdgeMemory(elsewhere) as there:
        async with there.session("anna") as before:
            assert texts(before) == []
        async with here.session("anna") as session:
            session.add_message("user", "said here")
            version = await session.committed()
            assert version == session.snapshot.version
        async with there.session("anna", at_least=version) as after:
            assert texts(after) == ["said here"]
            assert not after.degraded


async def test_committed_of_a_session_that_changed_nothing(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        assert await session.committed() == 0


async def test_committed_raises_for_what_a_deletion_dropped() -> None:
    world = World()
    async with world.host() as memory, memory.session("anna") as session:
        session.add_message("user", "before")
        await session.committed()
        await world.origin.delete(UserKey("default", "anna"))
        session.add_message("user", "after")
        with pytest.raises(NotCommittedError):
            await session.committed()
        assert session.ended
        assert memory.counters.changes_dropped == 1


async def test_committed_raises_for_what_the_origin_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgememory.session.check_importance", lambda value: value)
    async with EdgeMemory.in_memory() as memory, memory.session("anna") as session:
        session.remember("good")
        session.remember("bad", importance=99)
        with pytest.raises(NotCommittedError, match="1 change"):
            await session.committed()
        assert facts(session) == ["good"]
        assert memory.counters.changes_rejected == 1


async def test_a_session_that_was_left_after_all_was_committed_leaves_a_clean_entry(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        session.add_message("user", "hello")
        await session.committed()
    read = await memory.warm("anna")
    assert read.entry is not None
    assert read.entry.tentative_at == 0.0


async def test_what_is_said_after_leaving_still_reaches_the_origin() -> None:
    world = World()
    async with world.host() as memory:
        async with memory.session("anna") as session:
            session.add_message("user", "in time")
        session.add_message("user", "the framework's last event")
        await memory.flush()
        assert session.durable
    assert [m.text for m in world.origin.state(UserKey("default", "anna")).messages] == [
        "in time",
        "the framework's last event",
    ]


async def test_what_is_said_after_the_memory_was_closed_is_not_lost_in_silence() -> None:
    async with EdgeMemory.in_memory() as memory, memory.session("anna") as session:
        session.add_message("user", "in time")
    assert session.durable
    session.add_message("user", "too late")
    assert not session.durable
    assert memory.counters.changes_overflowed == 1


async def test_closing_the_memory_inside_a_session_breaks_nothing() -> None:
    world = World()
    memory = world.host()
    await memory.__aenter__()
    async with memory.session("anna") as session:
        session.add_message("user", "said")
        await memory.aclose()
    assert session.durable
    assert [m.text for m in world.origin.state(UserKey("default", "anna")).messages] == ["said"]


async def test_a_session_that_is_not_open_says_so(memory: EdgeMemory) -> None:
    session = memory.session("anna")
    with pytest.raises(EdgeMemoryError, match="async with"):
        session.add_message("user", "hello")
    with pytest.raises(EdgeMemoryError, match="async with"):
        session.context()


async def test_a_session_is_entered_once(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        session.remember("first")
        with pytest.raises(EdgeMemoryError, match="entered once"):
            await session.__aenter__()
        session.remember("second")
    assert session.durable
    assert set(facts(session)) == {"first", "second"}


async def test_a_session_that_raises_keeps_what_was_said_before(memory: EdgeMemory) -> None:
    session = memory.session("anna")

    async def call() -> None:
        async with session:
            session.add_message("user", "said")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await call()
    assert session.durable
    async with memory.session("anna") as later:
        assert texts(later) == ["said"]


# Deletion


async def test_deletion_ends_open_sessions_and_their_methods_are_counted_no_ops(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        session.add_message("user", "secret")
        await session.committed()
        receipt = await memory.delete_user("anna")
        assert session.ended
        assert session.context() == ""
        session.add_message("user", "more")
        session.remember("more")
        session.forget("more")
        session.set_preference("more", 1)
        session.set_name("more")
        session.add_summary("more")
        assert not session.snapshot.exists
        assert session.durable
        with pytest.raises(NotCommittedError):
            await session.committed()
    assert memory.counters.changes_ignored == 6
    assert receipt.version > 0
    assert {store.store: store.cleared for store in receipt.stores} == {
        "origin": True,
        "memory": True,
        "memory of other processes": True,
        "outbox": True,
    }
    async with memory.session("anna") as again:
        assert not again.snapshot.exists
        assert again.context() == ""
        again.add_message("user", "hello again")
    async with memory.session("anna") as later:
        assert texts(later) == ["hello again"]


async def test_deletion_says_what_waits_in_the_outbox_and_what_becomes_of_it() -> None:
    world = World()
    async with world.host() as memory:
        commit, world.origin.commit = world.origin.commit, _never  # type: ignore[method-assign]
        async with memory.session("anna") as session:
            session.add_message("user", "one")
            session.add_message("user", "two")
        receipt = await memory.delete_user("anna")
        assert receipt.dropped == 2
        assert [store.store for store in receipt.stores if not store.cleared] == ["outbox"]
        assert (await memory.get_profile("anna")).is_tombstone
        world.origin.commit = commit  # type: ignore[method-assign]
    assert world.origin.state(UserKey("default", "anna")).messages == ()


async def test_deletion_leaves_others_alone(memory: EdgeMemory) -> None:
    for user in ("foo", "foobar"):
        async with memory.session(user) as session:
            session.remember(f"I am {user}")
    await memory.delete_user("foo")
    assert not (await memory.get_profile("foo")).exists
    assert (await memory.get_profile("foobar")).facts[0].text == "I am foobar"


# Looking things up


async def test_history_comes_in_pages_newest_first(memory: EdgeMemory) -> None:
    async with memory.session("anna", session_id="long") as session:
        for number in range(25):
            session.add_message("user", f"message {number}")
        await session.committed()
        assert len(session.snapshot.messages) == 10
    first = await memory.get_messages("anna", limit=20)
    second = await memory.get_messages("anna", limit=20, cursor=first.cursor)
    assert [message.text for message in (*first.items, *second.items)] == [f"message {n}" for n in range(24, -1, -1)]
    assert second.cursor is None
    assert (await memory.get_messages("anna", session_id="another")).items == ()
    for limit in (0, 1001):
        with pytest.raises(InvalidInputError, match="limit"):
            await memory.get_messages("anna", limit=limit)


async def test_warming_brings_a_user_into_the_process() -> None:
    world = World()
    async with world.host() as first, first.session("anna") as session:
        session.remember("Lives in Lisbon")
        await session.committed()
    async with world.host() as second:
        read = await second.warm("anna")
        assert (read.status, read.tier) == ("fresh", "origin")
        async with second.session("anna") as session:
            assert session.opened_with.tier == "memory"
            assert facts(session) == ["Lives in Lisbon"]


async def test_namespaces_are_apart() -> None:
    world = World()
    async with world.host(namespace="one") as one, world.host(namespace="two") as two:
        async with one.session("anna") as session:
            session.set_name("Anna of one")
            await session.committed()
        assert (await two.get_profile("anna")).name is None


async def test_awkward_ids_are_users_of_their_own_from_end_to_end() -> None:
    world = World()
    async with world.host() as memory:
        for number, user in enumerate(AWKWARD_IDS):
            async with memory.session(user) as session:
                session.add_message("user", f"I am {number}")
                await session.committed()
    async with world.host() as memory:
        for number, user in enumerate(AWKWARD_IDS):
            async with memory.session(user) as session:
                assert texts(session) == [f"I am {number}"]
            assert [message.text for message in (await memory.get_messages(user)).items] == [f"I am {number}"]
