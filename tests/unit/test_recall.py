"""`session.recall` and `memory.search`, as an agent uses them."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, cast

import anyio.lowlevel
import pytest

from edgememory import EdgeMemory, InvalidInputError, Parts, Session, StoreUnavailableError, Tier
from edgememory.changes import Change
from edgememory.limits import LIMITS
from edgememory.models import Entry, UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.recall.local import LocalRecall
from edgememory.recall.query import Candidates, Filters, Query
from edgememory.recall.rank import query_for
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.testing.talk import Talk
from edgememory.view import View


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return cast(str, request.param)


class SlowOrigin(InMemoryOrigin):
    """An origin whose searches wait for a signal, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.released = anyio.Event()
        self.down = False

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        if self.down:
            raise StoreUnavailableError("gone", store="origin", operation="search")
        await self.released.wait()
        return await super().search(user, query, limit=limit)


@pytest.fixture
def origin(anyio_backend: str) -> SlowOrigin:
    return SlowOrigin()


@pytest.fixture
async def memory(origin: SlowOrigin) -> AsyncIterator[EdgeMemory]:
    parts = Parts(origin=Tier(name="origin", store=origin, timeout=1.0), outbox=MemoryOutbox())
    async with EdgeMemory(parts) as memory:
        yield memory


async def texts(session: Session, query: str, *, deep: bool = False, timeout: float = 0.15) -> list[str]:
    return [match.text for match in await session.recall(query, deep=deep, timeout=timeout)]


async def earlier_call(memory: EdgeMemory) -> None:
    """One of more messages than a snapshot holds."""
    async with memory.session("caller") as session:
        session.add_message("user", "My sister plays the cello")
        for number in range(20):
            session.add_message("user", f"Something else, number {number}")
        session.remember("Lives in Lisbon")
        await session.committed()


@pytest.mark.anyio
async def test_what_was_just_said_is_recalled(memory: EdgeMemory) -> None:
    async with memory.session("caller") as session:
        session.add_message("user", "I moved to Lisbon last week")
        session.remember("Lives in Lisbon")
        assert await texts(session, "where do they live?") == ["Lives in Lisbon"]
        session.forget("Lives in Lisbon")
        assert await texts(session, "where do they live?") == []


@pytest.mark.anyio
async def test_of_a_long_message_as_much_is_recalled_as_a_snapshot_shows(memory: EdgeMemory) -> None:
    async with memory.session("caller") as session:
        session.add_message("user", "It was a long story of my parrot. " * 10_000 + "And the hamster.")
        [match] = await session.recall("parrot")
        assert match.text == session.snapshot.messages[-1].text
        assert await texts(session, "hamster") == []


@pytest.mark.anyio
async def test_a_long_call_does_not_push_out_what_earlier_ones_said(memory: EdgeMemory) -> None:
    async with memory.session("caller") as session:
        session.add_message("user", "My brother paints")
        await session.committed()
    async with memory.session("caller") as session:
        assert await texts(session, "brother") == ["My brother paints"]
        for number in range(30):
            session.add_message("user", f"Number {number}")
        assert await texts(session, "brother") == ["My brother paints"]


@pytest.mark.anyio
async def test_a_deep_recall_finds_what_no_snapshot_holds(memory: EdgeMemory, origin: SlowOrigin) -> None:
    await earlier_call(memory)
    origin.released.set()
    async with memory.session("caller") as session:
        assert await texts(session, "cello") == []
        first, *beside = await texts(session, "cello", deep=True, timeout=5)
        assert first == "My sister plays the cello"
        assert beside == ["Something else, number 0", "Something else, number 1"]


@pytest.mark.anyio
async def test_a_deep_recall_finds_what_the_origin_has_not_heard_of(memory: EdgeMemory, origin: SlowOrigin) -> None:
    await earlier_call(memory)
    origin.released.set()
    async with memory.session("caller") as session:
        session.add_message("user", "My hamster is called Coco")
        assert (await texts(session, "hamster", deep=True, timeout=5))[0] == "My hamster is called Coco"


async def facts(session: Session, *, deep: bool = False, former: bool = False) -> list[tuple[str, bool]]:
    """Return what is recalled of where the caller lives, each with whether it holds."""
    matches = await session.recall("lives in", deep=deep, timeout=5, filters=Filters(kinds=("fact",), former=former))
    return [(match.text, match.valid_until is None) for match in matches]


@pytest.mark.anyio
@pytest.mark.parametrize("former", [False, True])
async def test_a_deep_recall_brings_no_forgotten_fact_back(
    memory: EdgeMemory, origin: SlowOrigin, *, former: bool
) -> None:
    await earlier_call(memory)
    origin.released.set()
    async with memory.session("caller") as session:
        assert await facts(session, deep=True) == [("Lives in Lisbon", True)]
        session.forget("Lives in Lisbon")
        assert await facts(session, former=former) == []
        assert await facts(session, deep=True, former=former) == []


@pytest.mark.anyio
async def test_a_fact_that_a_deep_recall_brought_stays_forgotten_after_many_others(
    memory: EdgeMemory, origin: SlowOrigin
) -> None:
    origin.released.set()
    async with memory.session("caller") as session:
        session.remember("Has a parrot")
        for number in range(LIMITS.facts):
            session.remember(f"Likes song {number}", importance=9)
        await session.committed()
    async with memory.session("caller") as session:
        assert await texts(session, "parrot", deep=True, timeout=5) == ["Has a parrot"]
        session.forget("Has a parrot")
        for number in range(LIMITS.forgotten):
            session.forget(f"Likes song {number}")
        assert await texts(session, "parrot") == []


@pytest.mark.anyio
async def test_a_fact_that_a_deep_recall_brought_ends_with_the_next(memory: EdgeMemory, origin: SlowOrigin) -> None:
    await earlier_call(memory)
    origin.released.set()
    async with memory.session("caller") as session:
        await facts(session, deep=True)
        session.remember("Lives in Bern", replaces="Lives in Lisbon")
        assert await facts(session) == [("Lives in Bern", True)]
        assert sorted(await facts(session, former=True)) == [("Lives in Bern", True), ("Lives in Lisbon", False)]
        assert await facts(session, deep=True) == [("Lives in Bern", True)]
        session.forget("Lives in Lisbon")
        assert await facts(session, former=True) == [("Lives in Bern", True)]


@pytest.mark.anyio
async def test_a_fact_that_is_said_again_is_found_once(memory: EdgeMemory, origin: SlowOrigin) -> None:
    await earlier_call(memory)
    origin.released.set()
    async with memory.session("caller") as session:
        await facts(session, deep=True)
        session.remember("lives in LISBON")
        assert await facts(session) == [("lives in LISBON", True)]


@pytest.mark.anyio
async def test_what_arrives_late_is_there_for_the_next_turn(memory: EdgeMemory, origin: SlowOrigin) -> None:
    await earlier_call(memory)
    async with memory.session("caller") as session:
        assert await texts(session, "cello", deep=True, timeout=0) == []
        origin.released.set()
        with anyio.fail_after(5):
            while not await texts(session, "cello"):
                await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
async def test_an_outage_never_raises_in_a_session(memory: EdgeMemory, origin: SlowOrigin) -> None:
    origin.down = True
    async with memory.session("caller") as session:
        session.remember("Lives in Lisbon")
        assert await texts(session, "lives", deep=True) == ["Lives in Lisbon"]
    with pytest.raises(StoreUnavailableError):
        await memory.search("caller", "lives")


@pytest.mark.anyio
async def test_what_recall_returned_counts_as_use_once_the_call_is_over(memory: EdgeMemory, origin: SlowOrigin) -> None:
    await earlier_call(memory)
    async with memory.session("caller") as session:
        await session.recall("Lisbon")
        assert session.snapshot.facts[0].used == ""
    assert session.snapshot.facts[0].used != ""
    assert await session.committed()
    assert origin.state(UserKey("default", "caller")).facts[0].used != ""


@pytest.mark.anyio
async def test_who_recalled_nothing_leaves_nothing(memory: EdgeMemory) -> None:
    async with memory.session("caller") as session:
        await session.recall("Lisbon")
    assert memory.counters.changes_made == 0


@pytest.mark.anyio
async def test_the_conversation_that_goes_on_can_be_left_out(memory: EdgeMemory) -> None:
    async with memory.session("caller") as session:
        session.add_message("user", "Where is my parcel?")
        others = Filters(except_session_id=session.session_id)
        assert await session.recall("parcel", filters=others) == []
        assert [match.role for match in await session.recall("parcel")] == ["user"]


@pytest.mark.anyio
async def test_a_session_that_has_ended_recalls_nothing(memory: EdgeMemory) -> None:
    async with memory.session("caller") as session:
        session.remember("Lives in Lisbon")
        await memory.delete_user("caller")
        assert session.ended
        assert await texts(session, "Lisbon", deep=True) == []


@pytest.mark.anyio
async def test_a_session_that_learns_of_a_deletion_before_it_forgets_what_was_said(origin: SlowOrigin) -> None:
    origin.released.set()
    user, before = UserKey("default", "caller"), Talk()
    await origin.commit(user, [before.says("My PIN is 1234"), before.says("No, my PIN is 4321")])
    brought = await origin.search(user, query_for("pin", "english"), limit=10)
    stale, tombstone = await origin.get(user), await origin.delete(user)
    view = View(started=tombstone.snapshot.erased_time + 60)
    view.open_on(stale)
    view.wait_for([before.says("The PIN waits in the outbox")])
    recall = LocalRecall("english")
    recall.bring(brought.items[0])

    def recalled() -> list[str]:
        matches = recall.search("pin", view.snapshot, {**view.waiting, **view.own}, limit=10)
        return [match.text for match in matches]

    assert len(recalled()) == 3
    view.adopt(tombstone)
    assert recalled() == []
    view.make(Talk(base=view.base).says("I have a new PIN"))
    assert recalled() == ["I have a new PIN"]


def test_what_the_origin_refused_is_recalled_no_longer() -> None:
    view, recall = View(started=1.5), LocalRecall("english")
    changes: list[Change] = [Talk().says("My parrot sleeps"), Talk().remembers("Has a parrot")]
    for change in changes:
        view.make(change)
    assert len(recall.search("parrot", view.snapshot, view.own, limit=10)) == 2
    view.unmake([change.id for change in changes])
    assert recall.search("parrot", view.snapshot, view.own, limit=10) == []


class Replica(InMemoryOrigin):
    """A replica that replays nothing; a deletion does not wait for it."""

    async def get_each(self, user: UserKey) -> dict[str, Entry]:
        return {}


@pytest.mark.anyio
async def test_a_replica_that_lags_behind_a_deletion_brings_nothing_back(origin: SlowOrigin) -> None:
    origin.released.set()
    replica, user, said = Replica(), UserKey("default", "caller"), [Talk().says("My PIN is 1234")]
    await origin.commit(user, said)
    await replica.commit(user, said)
    parts = Parts(
        origin=Tier(name="origin", store=origin, timeout=1.0),
        replica=Tier(name="replica", store=replica, timeout=1.0),
        outbox=MemoryOutbox(),
    )
    async with EdgeMemory(parts) as memory:
        assert len(await memory.search("caller", "pin")) == 1
        await memory.delete_user("caller")
        assert await memory.search("caller", "pin") == []
        async with memory.session("caller") as session:
            assert await texts(session, "pin", deep=True, timeout=5) == []


@pytest.mark.anyio
async def test_a_deep_recall_finds_by_metadata_what_the_origin_found(memory: EdgeMemory, origin: SlowOrigin) -> None:
    origin.released.set()
    async with memory.session("caller") as session:
        session.add_message("user", "The parrot sleeps", metadata={"channel": 1})
        session.add_message("user", "The parrot sings", metadata={"channel": 2})
        await session.committed()
    filters = Filters(metadata={"channel": 1})
    async with memory.session("caller") as session:
        session.add_message("user", "The parrot eats")
        found = await session.recall("parrot", deep=True, timeout=5, filters=filters)
        assert [match.text for match in found] == ["The parrot sleeps"]
        assert await session.recall("parrot", filters=filters) == []


class LateOrigin(SlowOrigin):
    """Has found before it is let answer; cannot be read while it is down."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = anyio.Event()

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        found = await InMemoryOrigin.search(self, user, query, limit=limit)
        self.asked.set()
        await self.released.wait()
        return found

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        if self.down:
            raise StoreUnavailableError("gone", store="origin", operation="get")
        return await super().get(user, at_least=at_least)


@pytest.mark.anyio
async def test_what_was_found_before_a_deletion_and_arrives_after_it_is_not_kept(anyio_backend: str) -> None:
    origin = LateOrigin()
    await origin.commit(UserKey("default", "caller"), [Talk().says("My PIN is 1234")])
    origin.down = True
    parts = Parts(origin=Tier(name="origin", store=origin, timeout=1.0), outbox=MemoryOutbox())
    async with EdgeMemory(parts) as memory, memory.session("caller") as session:
        assert await texts(session, "pin", deep=True, timeout=0) == []
        await origin.asked.wait()
        origin.down = False
        await memory.delete_user("caller")
        assert not session.ended, "it had seen nothing"
        assert await texts(session, "pin") == []
        origin.released.set()
        await anyio.wait_all_tasks_blocked()
        assert await texts(session, "pin") == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "query", ["", "   ", "where are you", "?!", "x" * 100_000, "'; DROP TABLE users; --", "a & !b"]
)
async def test_queries_that_find_nothing_are_no_errors(memory: EdgeMemory, origin: SlowOrigin, query: str) -> None:
    await earlier_call(memory)
    origin.released.set()
    async with memory.session("caller") as session:
        assert await texts(session, query, deep=True) == []
    assert await memory.search("caller", query) == []


@pytest.mark.anyio
async def test_bad_input_names_what_it_must_be(memory: EdgeMemory) -> None:
    async with memory.session("caller") as session:
        with pytest.raises(InvalidInputError, match="NUL"):
            await session.recall("a\0b")
        with pytest.raises(InvalidInputError, match="1 to 1000"):
            await session.recall("a", limit=0)
        with pytest.raises(InvalidInputError, match="time zone"):
            await session.recall("a", filters=Filters(after=datetime(2026, 1, 1)))  # noqa: DTZ001
        with pytest.raises(InvalidInputError, match="query must be a string, not NoneType"):
            await session.recall(cast(str, None))
    with pytest.raises(InvalidInputError, match="language"):
        await memory.search("caller", "a", language="klingon")  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("filters", "what"),
    [
        ({"kinds": ("fact",)}, r"must be Filters\(\.\.\.\), not dict"),
        (Filters(kinds=cast(Any, ("opinion",))), "kinds may hold .*, not 'opinion'"),
        (Filters(kinds=cast(Any, "fact")), r"kinds must be a tuple, such as \('fact',\), not 'fact'"),
        (Filters(kinds=cast(Any, ([],))), r"kinds may hold .*, not \[\]"),
        (Filters(former=cast(Any, "no")), "former must be True or False"),
    ],
)
async def test_filters_of_a_wrong_type_are_named(memory: EdgeMemory, filters: Any, what: str) -> None:
    async with memory.session("caller") as session:
        with pytest.raises(InvalidInputError, match=what):
            await session.recall("a", filters=filters)


@pytest.mark.anyio
async def test_ranking_long_texts_lets_others_run(memory: EdgeMemory, origin: SlowOrigin) -> None:
    origin.released.set()
    turns = 0

    async def ticking() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with memory.session("caller") as session:
        for number in range(30):
            session.add_message("user", f"The cello, {number}. " + "It was a long story. " * 500)
        await session.committed()
        async with anyio.create_task_group() as group:
            group.start_soon(ticking)
            assert await memory.search("caller", "cello")
            assert turns > 20
            turns = 0
            assert await session.recall("cello", deep=True, timeout=60)
            assert turns > 20
            group.cancel_scope.cancel()
