"""The races that break caches, each played exactly once and in order, on both event loops. No test waits for time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from edgememory.apply import overlay
from edgememory.background import Background
from edgememory.errors import StoreUnavailableError
from edgememory.freshness import Policy
from edgememory.models import Entry, Snapshot, UserKey
from edgememory.stores.memory import InMemoryStore
from edgememory.telemetry import Counters
from edgememory.testing.clock import ManualClock
from edgememory.testing.talk import Talk
from edgememory.tier import Tier
from edgememory.tiered import TieredStore
from edgememory.walk import Read
from tests.unit.fakes import ANNA, BERT, FakeCache, FakeOrigin

POLICY = Policy(ttl=100, stale_while_revalidate=1000, missing_ttl=10, near_ttl=5, near_keep=50)
FOREVER = 1e6
AWAY = StoreUnavailableError("connection refused", store="store", operation="any")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


class LateOrigin(FakeOrigin):
    """An origin whose answers to `get` can be held back after they were read: what they say gets old on the way."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        super().__init__(now=now)
        self.gets = 0
        self.reached = anyio.Event()
        self.held_back: anyio.Event | None = None

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        self.gets += 1
        entry = await super().get(user, at_least=at_least)
        self.reached.set()
        if self.held_back is not None:
            await self.held_back.wait()
        return entry


@dataclass
class Tiered:
    clock: ManualClock
    origin: LateOrigin
    cache: FakeCache
    near: InMemoryStore
    store: TieredStore
    background: Background
    newer: list[Entry]

    async def knows(self, *texts: str, user: UserKey = ANNA) -> Entry:
        """Let the origin have these facts of *user*."""
        return (await self.origin.commit(user, [Talk(base=0).remembers(text) for text in texts])).entry

    async def idle(self) -> None:
        """Wait until nothing goes on in the background."""
        for _ in range(50):
            await checkpoint()


@asynccontextmanager
async def tiered() -> AsyncIterator[Tiered]:
    clock, counters = ManualClock(), Counters()
    origin, cache, near = LateOrigin(now=clock.now), FakeCache(), InMemoryStore(monotonic=clock.monotonic)
    cache._monotonic = clock.monotonic
    newer: list[Entry] = []
    async with Background(counters) as background:
        store = TieredStore(
            background=background,
            near=near,
            caches=[Tier(name="edge", store=cache, timeout=FOREVER, monotonic=clock.monotonic)],
            origin=Tier(name="origin", store=origin, timeout=FOREVER, monotonic=clock.monotonic),
            policy=POLICY,
            stale_wait=FOREVER,
            now=clock.now,
            monotonic=clock.monotonic,
            counters=counters,
            on_newer=lambda user, entry: newer.append(entry),
        )
        yield Tiered(clock, origin, cache, near, store, background, newer)
    assert counters.background_errors == 0


def facts(read: Read) -> list[str]:
    return sorted(fact.text for fact in read.snapshot.facts)


async def held(cache: FakeCache, user: UserKey = ANNA) -> Snapshot:
    entry = await cache.get(user)
    assert entry is not None
    return entry.snapshot


async def test_a_late_fill_cannot_undo_a_write() -> None:
    async with tiered() as t, anyio.create_task_group() as group:
        await t.knows("old")
        t.origin.held_back = anyio.Event()
        reads: list[Read] = []

        async def read() -> None:
            reads.append(await t.store.read(ANNA))

        group.start_soon(read)
        await t.origin.reached.wait()
        await t.store.offer(ANNA, await t.knows("new"))
        t.origin.held_back.set()
        t.origin.held_back = None
        await t.idle()
        assert facts(reads[0]) == facts(await t.store.read(ANNA)) == ["new", "old"]
        assert len((await held(t.cache)).facts) == 2


async def test_a_late_fill_cannot_undo_a_deletion() -> None:
    async with tiered() as t, anyio.create_task_group() as group:
        await t.knows("old")
        t.origin.held_back = anyio.Event()
        reads: list[Read] = []

        async def read() -> None:
            reads.append(await t.store.read(ANNA))

        group.start_soon(read)
        await t.origin.reached.wait()
        await t.store.offer(ANNA, await t.origin.delete(ANNA))
        t.origin.held_back.set()
        t.origin.held_back = None
        await t.idle()
        assert facts(reads[0]) == facts(await t.store.read(ANNA)) == []
        assert (await held(t.cache)).is_tombstone


async def test_a_cancelled_reader_disturbs_no_other() -> None:
    async with tiered() as t, anyio.create_task_group() as group:
        await t.knows("a")
        t.origin.held_back = anyio.Event()
        reads: list[Read] = []
        scopes = [anyio.CancelScope() for _ in range(3)]

        async def read(scope: anyio.CancelScope) -> None:
            with scope:
                reads.append(await t.store.read(ANNA))

        for scope in scopes:
            group.start_soon(read, scope)
        await t.origin.reached.wait()
        scopes[0].cancel()
        await t.idle()
        t.origin.held_back.set()
        await t.idle()
        assert [facts(read) for read in reads] == [["a"], ["a"]]
        assert t.origin.gets == 1


async def test_the_last_reader_to_be_cancelled_cancels_the_load_and_a_newcomer_starts_anew() -> None:
    async with tiered() as t, anyio.create_task_group() as group:
        await t.knows("a")
        t.origin.held_back = anyio.Event()
        scopes = [anyio.CancelScope() for _ in range(2)]

        async def read(scope: anyio.CancelScope) -> None:
            with scope:
                await t.store.read(ANNA)

        for scope in scopes:
            group.start_soon(read, scope)
        await t.origin.reached.wait()
        for scope in scopes:
            scope.cancel()
        await t.idle()
        t.origin.held_back = None
        assert facts(await t.store.read(ANNA)) == ["a"]
        assert t.origin.gets == 2


async def test_a_newcomer_does_not_inherit_a_load_that_is_being_cancelled() -> None:
    async with tiered() as t, anyio.create_task_group() as group:
        await t.knows("a")
        t.origin.held_back = anyio.Event()
        reads: list[Read] = []
        scope = anyio.CancelScope()

        async def first() -> None:
            try:
                with scope:
                    await t.store.read(ANNA)
            finally:
                group.start_soon(second)

        async def second() -> None:
            reads.append(await t.store.read(ANNA))

        group.start_soon(first)
        await t.origin.reached.wait()
        t.origin.held_back = None
        scope.cancel()
        await t.idle()
        assert [facts(read) for read in reads] == [["a"]]


async def test_a_thousand_readers_ask_the_origin_once() -> None:
    async with tiered() as t, anyio.create_task_group() as group:
        t.origin.held_back = anyio.Event()
        reads: list[Read] = []

        async def read() -> None:
            reads.append(await t.store.read(ANNA))

        for _ in range(1000):
            group.start_soon(read)
        await t.origin.reached.wait()
        t.origin.held_back.set()
        await t.idle()
        assert t.origin.gets == 1
        assert len(reads) == 1000
        assert {read.status for read in reads} == {"fresh"}


async def test_readers_that_gave_up_waiting_ask_the_origin_no_second_time() -> None:
    async with tiered() as t:
        await t.knows("a")
        t.origin.held_back = anyio.Event()
        assert (await t.store.read(ANNA, timeout=0)).status == "degraded"
        t.store.refresh(ANNA)
        await t.idle()
        assert (await t.store.read(ANNA, timeout=0)).status == "degraded"
        assert t.origin.gets == 1
        t.origin.held_back.set()
        await t.idle()
        assert facts(await t.store.read(ANNA, timeout=0)) == ["a"]
        assert t.origin.gets == 1


async def test_users_are_loaded_apart() -> None:
    async with tiered() as t:
        other = UserKey("other", ANNA.user_id)
        for user, text in ((ANNA, "anna's"), (BERT, "bert's"), (other, "another anna's")):
            await t.knows(text, user=user)
        for _ in range(2):
            assert facts(await t.store.read(ANNA)) == ["anna's"]
            assert facts(await t.store.read(BERT)) == ["bert's"]
            assert facts(await t.store.read(other)) == ["another anna's"]


async def test_an_absent_user_is_an_answer_and_is_kept() -> None:
    async with tiered() as t:
        for _ in range(3):
            read = await t.store.read(ANNA)
            assert (read.status, read.snapshot.exists) == ("fresh", False)
        assert t.origin.gets == 1


async def test_an_empty_memory_is_not_taken_for_a_miss() -> None:
    async with tiered() as t:
        await t.origin.commit(ANNA, [Talk(base=0).is_called(None)])
        for _ in range(3):
            assert (await t.store.read(ANNA)).snapshot.exists
        assert t.origin.gets == 1


async def test_process_memory_is_confirmed_by_the_cache_after_near_ttl() -> None:
    async with tiered() as t:
        await t.store.offer(ANNA, await t.knows("a"))
        t.cache.switch.asked.clear()
        t.clock.advance(4.9)
        assert (await t.store.read(ANNA)).tier == "memory"
        assert t.cache.switch.asked == []
        t.clock.advance(0.1)
        assert (await t.store.read(ANNA)).status == "fresh"
        assert t.cache.switch.asked == ["get"]
        t.clock.advance(4.9)
        await t.store.read(ANNA)
        assert t.cache.switch.asked == ["get"]


async def test_process_memory_does_not_confirm_itself() -> None:
    """Unconfirmed, an entry is a candidate each time, and is dropped `near_keep` after it was filled."""
    async with tiered() as t:
        await t.store.offer(ANNA, await t.knows("a"))
        t.cache.switch.fail(AWAY)
        t.origin.switch.fail(AWAY, "get")
        for _ in range(9):
            t.clock.advance(5)
            read = await t.store.read(ANNA)
            assert (read.status, facts(read)) == ("stale", ["a"])
            await t.idle()
        t.clock.advance(5)
        assert (await t.store.read(ANNA)).entry is None


async def test_a_cache_that_is_older_than_process_memory_does_not_confirm_it_and_is_repaired() -> None:
    async with tiered() as t:
        await t.store.offer(ANNA, await t.knows("a"))
        t.cache.switch.fail(AWAY)
        await t.store.offer(ANNA, await t.knows("b"))
        t.cache.switch.heal()
        t.clock.advance(6)
        assert facts(await t.store.read(ANNA)) == ["a", "b"]
        await t.idle()
        assert len((await held(t.cache)).facts) == 2


async def test_a_refused_offer_makes_process_memory_learn_what_stands() -> None:
    """A session that was open when another process deleted its user must not keep the user in memory."""
    async with tiered() as t:
        old = await t.knows("a")
        await t.cache.put(ANNA, await t.origin.delete(ANNA), keep=1000)
        assert await t.store.offer(ANNA, old) == {"edge": None}
        read = await t.store.read(ANNA)
        assert (read.status, read.snapshot.is_tombstone) == ("fresh", True)


@pytest.mark.parametrize("tier", ["memory", "edge", "origin"])
async def test_behind_is_no_answer_wherever_it_stands(tier: str) -> None:
    """Any tier may be behind; only the origin's word is final."""
    async with tiered() as t:
        old = await t.knows("a")
        if tier == "memory":
            t.store.hold(ANNA, old)
        if tier != "origin":
            await t.cache.put(ANNA, old, keep=1000)
            await t.knows("b")
        wanted = 1 if tier == "origin" else 2
        read = await t.store.read(ANNA, wanted)
        assert (read.status, read.snapshot.version) == ("fresh", wanted)
        read = await t.store.read(ANNA, wanted + 1)
        assert (read.status, read.snapshot.version) == ("degraded", wanted)


@pytest.mark.parametrize("shows_it", [False, True], ids=["nothing-newer", "a-tentative-one"])
async def test_who_joins_a_load_is_not_given_an_answer_from_before_what_it_asks_for(shows_it: bool) -> None:
    """The origin's word is final for whoever asked it; who comes later may know of a commit since."""
    async with tiered() as t, anyio.create_task_group() as group:
        old = await t.knows("old")
        t.origin.held_back = anyio.Event()
        reads: list[Read] = []

        async def read(at_least: int) -> None:
            reads.append(await t.store.read(ANNA, at_least))

        group.start_soon(read, 0)
        await t.origin.reached.wait()
        new = await t.knows("new")
        if shows_it:
            t.store.hold(ANNA, overlay(old, [Talk(base=0).remembers("new")], now=t.clock.now()))
        group.start_soon(read, new.snapshot.version)
        await t.idle()
        t.origin.held_back.set()
    assert [(read.status, facts(read)) for read in reads][-1] == ("fresh", ["new", "old"])
    assert reads[-1].snapshot.version == new.snapshot.version


async def test_behind_is_served_degraded_if_nothing_better_can_be_had() -> None:
    async with tiered() as t:
        await t.store.offer(ANNA, await t.knows("a"))
        t.origin.switch.fail(AWAY, "get")
        read = await t.store.read(ANNA, 2)
        assert (read.status, facts(read)) == ("degraded", ["a"])


async def test_a_reader_that_wants_more_than_a_load_brings_starts_its_own() -> None:
    async with tiered() as t, anyio.create_task_group() as group:
        await t.cache.put(ANNA, await t.knows("a"), keep=1000)
        await t.knows("b")
        t.cache.switch.hang("get")
        reads: dict[int, Read] = {}

        async def read(at_least: int) -> None:
            reads[at_least] = await t.store.read(ANNA, at_least)

        group.start_soon(read, 0)
        await t.idle()
        group.start_soon(read, 2)
        await t.idle()
        t.cache.switch.heal()
        await t.idle()
        assert (reads[2].status, reads[2].snapshot.version) == ("fresh", 2)
        assert reads[0].status == "fresh"
        assert t.origin.gets == 1


async def test_reads_never_go_back_when_process_memory_forgets_and_the_cache_is_behind() -> None:
    async with tiered() as t:
        await t.cache.put(ANNA, await t.knows("a"), keep=1000)
        t.cache.switch.fail(AWAY, "put")
        await t.store.offer(ANNA, await t.knows("b"))
        await t.near.aclose()
        read = await t.store.read(ANNA)
        assert (read.status, facts(read)) == ("fresh", ["a", "b"])


@pytest.mark.parametrize(("age", "status"), [(11, "stale"), (1099, "stale"), (1100, "degraded"), (8e6, "degraded")])
async def test_a_tombstone_outlives_its_freshness_and_outranks_what_is_older(age: float, status: str) -> None:
    async with tiered() as t:
        old = await t.knows("a")
        await t.store.offer(ANNA, await t.origin.delete(ANNA))
        t.origin.switch.fail(AWAY, "get")
        t.clock.advance(age)
        await t.cache.put(ANNA, old, keep=1000)
        read = await t.store.read(ANNA)
        assert (read.status, read.snapshot.is_tombstone) == (status, True)


async def test_what_was_deleted_is_not_served_degraded_either() -> None:
    """Process memory has dropped the tombstone, the cache lost it, the origin is away: then nothing is served."""
    async with tiered() as t:
        old = await t.knows("a")
        await t.store.offer(ANNA, await t.origin.delete(ANNA))
        t.clock.advance(POLICY.near_keep)
        t.cache._drop(ANNA)
        await t.cache.put(ANNA, old, keep=1000)
        t.origin.switch.fail(AWAY, "get")
        read = await t.store.read(ANNA)
        assert (read.status, read.entry) == ("degraded", None)


async def test_ages_never_add_up_over_tiers() -> None:
    """What a cache fills into process memory, and a fill into a cache, keep the time when the content was true."""
    async with tiered() as t:
        entry = await t.knows("a")
        await t.cache.put(ANNA, entry, keep=10_000)
        t.clock.advance(99)
        read = await t.store.read(ANNA)
        assert (read.status, read.age) == ("fresh", 99)
        t.clock.advance(0.5)
        read = await t.store.read(ANNA)
        assert (read.tier, read.age) == ("memory", 99.5)
        await t.knows("b")
        t.clock.advance(0.5)
        t.origin.held_back = anyio.Event()
        assert (await t.store.read(ANNA)).status == "stale"
        t.origin.held_back.set()
        await t.idle()
        assert facts(await t.store.read(ANNA)) == ["a", "b"]
        assert (await held(t.cache)).version == 2


async def test_a_stale_answer_is_refreshed_in_the_background_once() -> None:
    async with tiered() as t:
        await t.cache.put(ANNA, await t.knows("a"), keep=10_000)
        await t.knows("b")
        t.clock.advance(200)
        t.origin.held_back = anyio.Event()
        reads = [await t.store.read(ANNA) for _ in range(3)]
        assert [(read.status, facts(read)) for read in reads] == [("stale", ["a"])] * 3
        await t.idle()
        assert t.origin.gets == 1
        t.origin.held_back.set()
        await t.idle()
        assert t.newer[-1].snapshot.version == 2
        assert facts(await t.store.read(ANNA)) == ["a", "b"]


async def test_what_is_expired_is_served_only_degraded() -> None:
    async with tiered() as t:
        await t.cache.put(ANNA, await t.knows("a"), keep=10_000)
        t.clock.advance(1200)
        t.origin.switch.fail(AWAY, "get")
        read = await t.store.read(ANNA)
        assert (read.status, facts(read)) == ("degraded", ["a"])
        t.origin.switch.heal()
        assert (await t.store.read(ANNA)).status == "fresh"


async def test_nothing_at_all_is_an_empty_degraded_answer() -> None:
    async with tiered() as t:
        t.cache.switch.fail(AWAY)
        t.origin.switch.fail(AWAY)
        read = await t.store.read(ANNA)
        assert (read.status, read.entry, read.snapshot.version) == ("degraded", None, 0)


async def test_closing_ends_every_load_and_its_readers() -> None:
    async with anyio.create_task_group() as group:
        async with tiered() as t:
            t.origin.held_back = anyio.Event()
            reads: list[Read] = []

            async def read() -> None:
                reads.append(await t.store.read(ANNA))

            group.start_soon(read)
            await t.origin.reached.wait()
        await t.idle()
        assert [read.status for read in reads] == ["degraded"]
