"""Sessions and EdgeMemory as an agent uses them, everything in process memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import anyio
import pytest
from msgspec.structs import replace

from edgememory import EdgeMemory, EdgeMemoryError, InvalidInputError, NotCommittedError, Parts, Session, Tier
from edgememory.models import UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.store import CacheStore, ReplicaStore
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.testing.examples import AWKWARD_IDS
from edgememory.testing.talk import Talk
from tests.unit.fakes import FakeReplica

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


@pytest.fixture
async def memory(anyio_backend: str) -> AsyncIterator[EdgeMemory]:
    async with EdgeMemory.in_memory() as memory:
        yield memory


class World:
    """One origin and one outbox, for several hosts or one after the other."""

    def __init__(self) -> None:
        self.origin = InMemoryOrigin()
        self.outbox = MemoryOutbox()

    def parts(self, *, caches: Sequence[CacheStore] = (), replica: ReplicaStore | None = None) -> Parts:
        return Parts(
            origin=Tier(name="origin", store=self.origin, timeout=1.0),
            outbox=self.outbox,
            caches=[Tier(name="cache", store=cache, timeout=1.0) for cache in caches],
            replica=None if replica is None else Tier(name="replica", store=replica, timeout=1.0),
        )

    def host(self, **options: Any) -> EdgeMemory:
        return EdgeMemory(self.parts(), **options)


def texts(session: Session) -> list[str]:
    return [message.text for message in session.snapshot.messages]


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


# The door

LONG = "x" * 513
WRONG_IDS: dict[str, tuple[object, str]] = {
    "empty": ("", "empty"),
    "NUL": ("a\0b", "NUL"),
    "long": (LONG, "513 bytes.* 512"),
    "long in bytes": ("é" * 257, "514 bytes.* 512"),
    "surrogate": ("\ud800", "surrogate"),
    "bytes": (b"anna", "string, not bytes"),
    "number": (42, "string, not int"),
    "none": (None, "string, not NoneType"),
}


@pytest.mark.parametrize(("id", "told"), WRONG_IDS.values(), ids=WRONG_IDS.keys())
async def test_a_wrong_id_is_refused_at_the_door(memory: EdgeMemory, id: object, told: str) -> None:
    wrong = cast(str, id)
    if id is not None:  # a caller who is not known yet
        with pytest.raises(InvalidInputError, match=f"user_id .*{told}"):
            memory.session(wrong)
    for look_up in (memory.get_profile, memory.get_messages, memory.warm, memory.delete_user):
        with pytest.raises(InvalidInputError, match=f"user_id .*{told}"):
            await look_up(wrong)
    if id is not None:
        with pytest.raises(InvalidInputError, match=f"session_id .*{told}"):
            memory.session("anna", session_id=wrong)
        with pytest.raises(InvalidInputError, match=f"agent_id .*{told}"):
            memory.session("anna", agent_id=wrong)


@pytest.mark.parametrize("seconds", [None, "1", float("nan")])
async def test_a_wrong_timeout_is_refused_at_the_door(memory: EdgeMemory, seconds: object) -> None:
    wrong = cast(float, seconds)
    for parameter in ("timeout", "leave_timeout"):
        with pytest.raises(InvalidInputError, match=f"^{parameter} must be a number of seconds"):
            memory.session("anna", **{parameter: wrong})
    for call in (
        memory.warm("anna", timeout=wrong),
        memory.get_profile("anna", timeout=wrong),
        memory.flush(timeout=wrong),
    ):
        with pytest.raises(InvalidInputError, match="timeout must be a number of seconds"):
            await call


async def test_a_wrong_version_is_refused_at_the_door(memory: EdgeMemory) -> None:
    with pytest.raises(InvalidInputError, match="at_least must be a version"):
        memory.session("anna", at_least=cast(int, "5"))


Call = Callable[[Session], None]
WRONG_CALLS: dict[str, tuple[Call, str]] = {
    "message too long": (lambda s: s.add_message("user", "x" * (1024**2 + 1)), "text is 1048577 .* 1048576"),
    "message too long in bytes": (lambda s: s.add_message("user", "é" * (1024**2 // 2 + 1)), "text .* 1048576"),
    "message with NUL": (lambda s: s.add_message("user", "a\0"), "text .*NUL"),
    "message with a surrogate": (lambda s: s.add_message("user", "\udfff"), "text .*surrogate"),
    "message that is none": (lambda s: s.add_message("user", cast(str, None)), "text must be a string"),
    "role": (lambda s: s.add_message(cast(Any, "owner"), "x"), "role must be one of user, assistant"),
    "no time zone": (lambda s: s.add_message("user", "x", at=datetime(2026, 1, 1)), "at has no time zone"),  # noqa: DTZ001
    "interrupted": (
        lambda s: s.add_message("user", "x", interrupted=cast(bool, 1)),
        "interrupted must be True or False",
    ),
    "metadata NaN": (lambda s: s.add_message("user", "x", metadata={"a": float("nan")}), r"metadata\['a'\].*finite"),
    "metadata infinite": (lambda s: s.add_message("user", "x", metadata={"a": float("-inf")}), "finite"),
    "metadata nested": (lambda s: s.add_message("user", "x", metadata=cast(Any, {"a": {}})), "not dict"),
    "metadata too big": (lambda s: s.add_message("user", "x", metadata={"a": "x" * 4090}), "metadata .* 4096"),
    "metadata key": (lambda s: s.add_message("user", "x", metadata={"": 1}), "metadata key is empty"),
    "metadata integer": (lambda s: s.add_message("user", "x", metadata={"a": 2**63}), "64 bits"),
    "fact too long": (lambda s: s.remember("x" * 1025), "text is 1025 .* 1024"),
    "fact empty": (lambda s: s.remember(""), "text is empty"),
    "replaces empty": (lambda s: s.remember("x", replaces=""), "replaces is empty"),
    "importance": (lambda s: s.remember("x", importance=11), "importance .* 0 to 10"),
    "importance true": (lambda s: s.remember("x", importance=True), "importance .* 0 to 10"),
    "forget empty": (lambda s: s.forget(""), "text is empty"),
    "name empty": (lambda s: s.set_name(""), "name is empty"),
    "name too long": (lambda s: s.set_name(LONG), "name is 513 .* 512"),
    "preference name": (lambda s: s.set_preference("x" * 129, 1), "name is 129 .* 128"),
    "preference text": (lambda s: s.set_preference("p", "x" * 1025), "value is 1025 .* 1024"),
    "preference NaN": (lambda s: s.set_preference("p", float("nan")), "value must be a finite"),
    "preference infinite": (lambda s: s.set_preference("p", float("inf")), "value must be a finite"),
    "preference integer": (lambda s: s.set_preference("p", -(2**63) - 1), "64 bits"),
    "preference list": (lambda s: s.set_preference("p", cast(Any, [])), "not list"),
    "summary empty": (lambda s: s.add_summary(""), "text is empty"),
    "summary too long": (lambda s: s.add_summary("x" * 8193), "text is 8193 .* 8192"),
}


@pytest.mark.parametrize(("call", "told"), WRONG_CALLS.values(), ids=WRONG_CALLS.keys())
async def test_input_over_a_limit_is_refused_and_changes_nothing(memory: EdgeMemory, call: Call, told: str) -> None:
    async with memory.session("anna") as session:
        before = session.snapshot
        with pytest.raises(InvalidInputError, match=told):
            call(session)
        assert session.snapshot == before
    assert memory.counters.changes_made == 0


RIGHT_CALLS: dict[str, Call] = {
    "message": lambda s: s.add_message("tool", "x" * 1024**2),
    "metadata": lambda s: s.add_message("system", "x", metadata={"a": "x" * 4080}),
    "fact": lambda s: s.remember("x" * 1024, importance=0),
    "name": lambda s: s.set_name("é" * 256),
    "preference": lambda s: s.set_preference("x" * 128, "x" * 1024),
    "integers": lambda s: s.set_preference("p", -(2**63)),
    "empty preference": lambda s: s.set_preference("p", ""),
    "summary": lambda s: s.add_summary("x" * 8192),
}


@pytest.mark.parametrize("call", RIGHT_CALLS.values(), ids=RIGHT_CALLS.keys())
async def test_input_at_its_limit_is_taken_and_the_origin_takes_it_too(memory: EdgeMemory, call: Call) -> None:
    async with memory.session("anna") as session:
        call(session)
        await session.committed()
    assert memory.counters.changes_rejected == 0


async def test_the_257th_preference_is_refused_and_one_can_be_unset_for_another(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        for number in range(256):
            session.set_preference(f"p{number}", number)
        with pytest.raises(InvalidInputError, match="256"):
            session.set_preference("one more", 1)
        session.set_preference("p0", "changed")
        session.set_preference("p1", None)
        session.set_preference("one more", 1)


async def test_a_wrong_namespace_is_refused_at_the_door(anyio_backend: str) -> None:
    for namespace in ("", "x" * 65, "a\0"):
        with pytest.raises(InvalidInputError, match="namespace"):
            World().host(namespace=namespace)


# Opening and closing


async def test_what_is_closed_says_so(anyio_backend: str) -> None:
    memory = EdgeMemory.in_memory()
    calls = (memory.warm, memory.get_profile, memory.get_messages, memory.delete_user)
    for _ in range(2):
        for call in calls:
            with pytest.raises(EdgeMemoryError, match="not open"):
                await call("anna")
        with pytest.raises(EdgeMemoryError, match="not open"):
            await memory.flush()
        with pytest.raises(EdgeMemoryError, match="not open"):
            await memory.session("anna").__aenter__()
        async with memory:
            pass
        await memory.aclose()


async def test_opening_twice_is_refused_and_disturbs_nothing(memory: EdgeMemory) -> None:
    with pytest.raises(EdgeMemoryError, match="already open"):
        await memory.open()
    async with memory.session("anna") as session:
        session.add_message("user", "hello")
        await session.committed()


async def test_opening_in_two_tasks_at_once_opens_it_once(anyio_backend: str) -> None:
    world = World()
    assembled = 0

    async def assemble(stack: Any) -> Parts:
        nonlocal assembled
        assembled += 1
        await anyio.sleep(0.01)
        return world.parts()

    memory = EdgeMemory(assemble)

    async def refused() -> None:
        with pytest.raises(EdgeMemoryError, match="already open"):
            await memory.open()

    async with anyio.create_task_group() as group:
        group.start_soon(refused)
        async with memory:
            pass
        assert assembled == 1


async def test_closing_closes_every_store(anyio_backend: str) -> None:
    closed: list[str] = []
    world = World()
    parts = world.parts(caches=[InMemoryStore()], replica=FakeReplica(world.origin))
    stores = {
        "origin": parts.origin.store,
        "outbox": parts.outbox,
        "cache": parts.caches[0].store,
        "replica": parts.replica and parts.replica.store,
    }

    def closing(name: str) -> Callable[[], Any]:
        async def aclose() -> None:
            closed.append(name)

        return aclose

    for name, store in stores.items():
        store.aclose = closing(name)  # type: ignore[method-assign, union-attr]
    async with EdgeMemory(parts):
        assert closed == []
    assert sorted(closed) == sorted(stores)


async def test_a_memory_can_be_opened_again() -> None:
    world = World()
    memory = world.host()
    for number in range(3):
        async with memory, memory.session("anna") as session:
            assert len(texts(session)) == number
            session.add_message("user", "hello")


async def test_opening_that_fails_closes_what_was_opened_and_can_be_repeated(anyio_backend: str) -> None:
    left: list[str] = []
    world = World()

    async def assemble(stack: Any) -> Parts:
        stack.callback(left.append, "left")
        if len(left) < 1:
            raise ConnectionRefusedError
        return world.parts()

    memory = EdgeMemory(assemble)
    with pytest.raises(ConnectionRefusedError):
        await memory.open()
    assert left == ["left"]
    async with memory, memory.session("anna"):
        pass
    assert left == ["left", "left"]


async def test_closing_delivers_what_it_can() -> None:
    world = World()
    async with world.host() as memory, memory.session("anna") as session:
        session.add_message("user", "hello")
    assert (await world.outbox.depth()).changes == 0
    assert [m.text for m in world.origin.state(UserKey("default", "anna")).messages] == ["hello"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_asyncio_it_may_be_opened_and_closed_in_different_tasks(anyio_backend: str) -> None:
    memory = EdgeMemory.in_memory()
    await asyncio.create_task(memory.open())

    async def talk() -> int:
        async with memory.session("anna") as session:
            session.add_message("user", "hello")
            return await session.committed()

    assert await asyncio.create_task(talk()) == 1
    await asyncio.create_task(memory.aclose())
    with pytest.raises(EdgeMemoryError, match="not open"):
        await memory.warm("anna")
