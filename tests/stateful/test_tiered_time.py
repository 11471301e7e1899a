"""What a read waits for, and what it does not wait for: in virtual time, to the millisecond."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
import trio.testing
from msgspec.structs import replace

from edgememory.background import Background
from edgememory.errors import StoreUnavailableError
from edgememory.freshness import Policy
from edgememory.models import Entry, UserKey
from edgememory.stores.memory import InMemoryStore
from edgememory.telemetry import Counters
from edgememory.testing.talk import Talk
from edgememory.tier import Tier
from edgememory.tiered import TieredStore
from edgememory.walk import Read
from tests.unit.fakes import ANNA, FakeCache, FakeOrigin, Switch, virtual_now

POLICY = Policy(ttl=100, stale_while_revalidate=1000, missing_ttl=10, near_ttl=5, near_keep=50)
AWAY = StoreUnavailableError("connection refused", store="store", operation="any")
CACHE_TIMEOUT, REPLICA_TIMEOUT, ORIGIN_TIMEOUT = 0.05, 0.1, 1.0
STALE_WAIT = STAGGER = 0.02


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class FakeReplica:
    """Says what it was given, for as long as it takes."""

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.switch = Switch()
        self.takes = 0.0

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        await anyio.sleep(self.takes)
        await self.switch.passed("get")
        return self.entry

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


class SlowOrigin(FakeOrigin):
    takes = 0.0

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        self.switch.asked.append("begun")
        await anyio.sleep(self.takes)
        return await super().get(user, at_least=at_least)

    @property
    def begun(self) -> int:
        return self.switch.asked.count("begun")


@dataclass
class Tiered:
    origin: SlowOrigin
    cache: FakeCache
    replica: FakeReplica
    store: TieredStore

    async def knows(self, *texts: str) -> Entry:
        return (await self.origin.commit(ANNA, [Talk(base=0).remembers(text) for text in texts])).entry

    async def timed(self, at_least: int = 0, timeout: float = 60.0) -> tuple[Read, float]:
        began = anyio.current_time()
        read = await self.store.read(ANNA, at_least, timeout)
        return read, round(anyio.current_time() - began, 6)


@asynccontextmanager
async def tiered(*, replicated: bool = False) -> AsyncIterator[Tiered]:
    counters, origin, cache, replica = Counters(), SlowOrigin(), FakeCache(), FakeReplica()
    clock = anyio.current_time
    async with Background(counters) as background:
        store = TieredStore(
            background=background,
            near=InMemoryStore(monotonic=clock),
            caches=[Tier(name="edge", store=cache, timeout=CACHE_TIMEOUT, monotonic=clock, answered=True)],
            origin=Tier(name="origin", store=origin, timeout=ORIGIN_TIMEOUT, monotonic=clock, answered=True),
            replica=Tier(name="replica", store=replica, timeout=REPLICA_TIMEOUT, monotonic=clock, answered=True)
            if replicated
            else None,
            policy=POLICY,
            stale_wait=STALE_WAIT,
            stagger=STAGGER,
            now=virtual_now,
            monotonic=clock,
            counters=counters,
        )
        yield Tiered(origin, cache, replica, store)
    assert counters.background_errors == 0


def facts(read: Read) -> list[str]:
    return sorted(fact.text for fact in read.snapshot.facts)


async def test_a_hanging_cache_costs_its_timeout_and_once_the_breaker_is_open_nothing() -> None:
    async with tiered() as t:
        t.cache.switch.hang()
        waits = []
        for number in range(5):
            _, waited = await t.timed(at_least=number)
            await t.knows(str(number))
            waits.append(waited)
        assert waits == [CACHE_TIMEOUT] * 3 + [0, 0]


async def test_a_stale_answer_waits_no_longer_than_stale_wait_for_a_fresh_one() -> None:
    async with tiered() as t:
        entry = await t.knows("a")
        await t.cache.put(ANNA, entry, keep=1e6)
        await anyio.sleep(60)
        await t.store.read(ANNA)
        await anyio.sleep(45)
        t.cache.switch.hang()
        t.origin.takes = 0.3
        read, waited = await t.timed()
        assert (read.status, facts(read), waited) == ("stale", ["a"], STALE_WAIT)
        await t.knows("b")
        await anyio.sleep(1)
        read, waited = await t.timed()
        assert (read.status, facts(read), waited) == ("fresh", ["a", "b"], 0)


async def test_the_deadline_ends_the_wait_and_the_load_goes_on() -> None:
    async with tiered() as t:
        await t.knows("a")
        t.origin.takes = 0.4
        read, waited = await t.timed(timeout=0.1)
        assert (read.status, read.entry, waited) == ("degraded", None, 0.1)
        await anyio.sleep(0.4)
        read, waited = await t.timed()
        assert (facts(read), waited, t.origin.begun) == (["a"], 0, 1)


async def test_who_hangs_up_does_not_end_the_load_of_who_has_waited_long_enough() -> None:
    async with tiered() as t:
        await t.knows("a")
        t.origin.takes = 0.4
        await t.timed(timeout=0.1)
        with anyio.move_on_after(0.1):
            await t.store.read(ANNA)
        await anyio.sleep(0.4)
        read, waited = await t.timed()
        assert (facts(read), waited, t.origin.begun) == (["a"], 0, 1)


async def test_a_fast_replica_spares_the_primary() -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.knows("a")
        t.replica.takes = 0.01
        read, waited = await t.timed()
        assert (read.status, read.tier, waited, t.origin.begun) == ("fresh", "replica", 0.01, 0)


async def test_after_the_stagger_the_primary_is_asked_as_well_and_the_first_fresh_answer_wins() -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.knows("a")
        t.replica.takes, t.origin.takes = 0.05, 0.5
        read, waited = await t.timed()
        assert (read.tier, waited, t.origin.begun) == ("replica", 0.05, 1)
        await anyio.sleep(2)
        assert t.origin.switch.asked.count("get") == 0, "the primary's request was cancelled"


async def test_a_replica_that_knows_no_such_user_sends_to_the_primary_at_once() -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.origin.get(ANNA)
        await t.knows("a")
        t.origin.takes = 0.15
        read, waited = await t.timed()
        assert (read.tier, facts(read), waited) == ("origin", ["a"], 0.15)


@pytest.mark.parametrize("trouble", ["fails", "hangs", "is behind", "is stale"])
async def test_a_replica_in_trouble_costs_no_more_than_the_stagger(trouble: str) -> None:
    async with tiered(replicated=True) as t:
        entry = t.replica.entry = await t.knows("a")
        await t.knows("b")
        match trouble:
            case "fails":
                t.replica.switch.fail(AWAY)
            case "hangs":
                t.replica.switch.hang()
            case "is stale":
                t.replica.entry = replace(entry, synced_at=entry.synced_at - 500)
            case _:
                pass
        t.origin.takes = 0.15
        read, waited = await t.timed(at_least=2)
        stagger = STAGGER if trouble == "hangs" else 0
        assert (read.status, facts(read), waited) == ("fresh", ["a", "b"], round(0.15 + stagger, 6))


@pytest.mark.parametrize("takes", [0.01, 0.05], ids=["before the primary is asked", "after"])
async def test_a_stale_replica_waits_no_longer_than_stale_wait_for_the_primary(takes: float) -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.knows("a")
        await anyio.sleep(101)
        await t.knows("b")
        t.replica.takes, t.origin.takes = takes, 0.3
        read, waited = await t.timed()
        assert (read.status, read.tier, facts(read), waited) == ("stale", "replica", ["a"], takes + STALE_WAIT)
        await anyio.sleep(0.3)
        read, waited = await t.timed()
        assert (read.status, facts(read), waited, t.origin.begun) == ("fresh", ["a", "b"], 0, 1)


async def test_a_stale_replica_is_no_answer_where_the_primary_has_one_in_time() -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.knows("a")
        await anyio.sleep(101)
        await t.knows("b")
        t.origin.takes = 0.01
        read, waited = await t.timed()
        assert (read.status, read.tier, facts(read), waited) == ("fresh", "origin", ["a", "b"], 0.01)


async def test_what_a_replica_has_never_dated_is_no_answer() -> None:
    """Restarted, and nothing replayed since: its content may be of any age."""
    async with tiered(replicated=True) as t:
        t.replica.entry = replace(await t.knows("a"), synced_at=0.0)
        read, _ = await t.timed()
        assert (read.status, read.tier) == ("fresh", "origin")
        t.origin.switch.fail(AWAY)
        await anyio.sleep(POLICY.near_keep)
        t.cache.switch.fail(AWAY)
        read, _ = await t.timed()
        assert (read.status, read.entry) == ("degraded", None)


async def test_a_lagging_replica_makes_an_entry_older_not_younger() -> None:
    async with tiered(replicated=True) as t:
        entry = await t.knows("a")
        await anyio.sleep(50)
        t.replica.entry = entry
        read, _ = await t.timed()
        assert (read.tier, read.age) == ("replica", 50)


async def test_whoever_is_offered_an_entry_keeps_its_age() -> None:
    async with tiered(replicated=True) as t:
        entry = t.replica.entry = await t.knows("a")
        await anyio.sleep(60)
        await t.store.read(ANNA)
        await anyio.sleep(1)
        held = await t.cache.get(ANNA)
        assert held is not None
        assert held.synced_at == entry.synced_at


async def test_a_replica_s_no_such_user_counts_only_if_nobody_else_answers() -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.origin.get(ANNA)
        t.origin.switch.fail(AWAY)
        read, _ = await t.timed()
        assert (read.status, read.tier, read.snapshot.exists) == ("degraded", "replica", False)


async def test_a_refresh_does_not_believe_a_replica_s_no_such_user_either() -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.origin.get(ANNA)
        await t.knows("a")
        t.origin.switch.fail(AWAY)
        t.store.refresh(ANNA)
        await anyio.sleep(1)
        assert await t.cache.get(ANNA) is None
        read, _ = await t.timed()
        assert (read.status, read.tier, read.snapshot.exists) == ("degraded", "replica", False)


async def test_a_replica_that_is_behind_takes_no_read_back_once_process_memory_has_forgotten() -> None:
    async with tiered(replicated=True) as t:
        t.replica.entry = await t.knows("a")
        await t.knows("b")
        assert facts(await t.store.read(ANNA, at_least=2)) == ["a", "b"]
        await anyio.sleep(POLICY.near_keep)
        t.cache.switch.fail(AWAY)
        t.origin.switch.fail(AWAY)
        t.store.refresh(ANNA)
        await anyio.sleep(1)
        read, _ = await t.timed()
        assert read.status == "degraded"


async def test_the_breaker_lets_one_request_try_after_each_pause() -> None:
    async with tiered() as t:
        t.origin.switch.fail(AWAY)
        asked = []
        for _ in range(8):
            before = t.origin.begun
            await t.timed()
            asked.append(t.origin.begun - before)
            await anyio.sleep(0.5)
        assert asked == [1, 1, 1, 0, 1, 0, 0, 0]
        t.origin.switch.heal()
        await anyio.sleep(2)
        assert (await t.timed())[0].status == "fresh"
