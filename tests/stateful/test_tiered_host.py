"""What the processes of a host show each other by its cache, and for how long: in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
import trio.testing
from msgspec.structs import replace

from edgememory.background import Background
from edgememory.errors import StoreUnavailableError
from edgememory.freshness import Policy
from edgememory.models import Entry, Snapshot
from edgememory.stores.memory import InMemoryStore
from edgememory.telemetry import Counters
from edgememory.testing.talk import Talk
from edgememory.tier import NearTier, Tier
from edgememory.tiered import TieredStore
from tests.unit.fakes import ANNA, FakeCache, FakeHost, FakeOrigin, virtual_now

POLICY = Policy(ttl=100, stale_while_revalidate=1000, missing_ttl=10, near_ttl=5, near_keep=50)
AWAY = StoreUnavailableError("connection refused", store="store", operation="any")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@dataclass
class Host:
    """A host with its cache, in a region with another, far from the origin."""

    cache: FakeHost = field(default_factory=FakeHost)
    edge: FakeCache = field(default_factory=FakeCache)
    origin: FakeOrigin = field(default_factory=FakeOrigin)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[TieredStore]:
        clock = anyio.current_time
        async with Background(Counters()) as background:
            yield TieredStore(
                background=background,
                near=InMemoryStore(monotonic=clock),
                caches=[
                    NearTier(name="host", store=self.cache, timeout=0.05, monotonic=clock),
                    Tier(name="edge", store=self.edge, timeout=0.05, monotonic=clock),
                ],
                origin=Tier(name="origin", store=self.origin, timeout=1.0, monotonic=clock),
                policy=POLICY,
                now=virtual_now,
                monotonic=clock,
            )

    async def fills(self) -> Entry:
        """A process reads Anna's memory from the origin, and ends."""
        entry = (await self.origin.commit(ANNA, [Talk(base=0).remembers("Has a dog")])).entry
        async with self.process() as process:
            assert (await process.read(ANNA)).tier == "origin"
            await anyio.sleep(0.1)
        self.edge.switch.asked.clear()
        self.origin.switch.asked.clear()
        return entry

    def is_cut_off(self) -> None:
        self.edge.switch.fail(AWAY)
        self.origin.switch.fail(AWAY)

    @property
    def asked(self) -> list[str]:
        return [*self.edge.switch.asked, *self.origin.switch.asked]


async def test_a_new_process_knows_whom_its_host_knows_and_asks_nobody() -> None:
    host = Host()
    await host.fills()
    async with host.process() as process:
        read = await process.read(ANNA)
        assert (read.status, read.tier, len(read.snapshot.facts)) == ("fresh", "host", 1)
        await anyio.sleep(1)
        assert host.asked == []


async def test_after_near_ttl_a_lower_tier_is_asked_and_confirms_it_for_all_processes() -> None:
    host = Host()
    await host.fills()
    await anyio.sleep(POLICY.near_ttl)
    async with host.process() as process:
        assert (await process.read(ANNA)).status == "fresh"
        await anyio.sleep(0.1)
        assert host.asked == ["get"], "the region's cache"
    async with host.process() as process:
        assert (await process.read(ANNA)).tier == "host"
        assert host.asked == ["get"]


async def test_a_process_counts_near_ttl_from_when_another_had_it_confirmed() -> None:
    host = Host()
    await host.fills()
    async with host.process() as process:
        await anyio.sleep(POLICY.near_ttl - 1)
        assert (await process.read(ANNA)).tier == "host"
        assert (await process.read(ANNA)).tier == "memory"
        await anyio.sleep(1)
        await process.read(ANNA)
        assert host.asked == ["get"]


async def test_cut_off_a_host_shows_what_it_has_until_near_keep_and_no_process_longer() -> None:
    host = Host()
    await host.fills()
    host.is_cut_off()
    async with host.process() as process:
        await anyio.sleep(POLICY.near_keep - 1)
        read = await process.read(ANNA)
        assert (read.status, len(read.snapshot.facts)) == ("stale", 1)
        await anyio.sleep(1)
        assert (await process.read(ANNA)).entry is None


async def test_calls_that_end_while_nobody_can_be_reached_confirm_nothing() -> None:
    host = Host()
    entry = await host.fills()
    host.is_cut_off()
    for _ in range(3):
        async with host.process() as process:
            await anyio.sleep(POLICY.near_keep / 4)
            await process.offer(ANNA, (await process.read(ANNA)).entry or entry)
    await anyio.sleep(POLICY.near_keep / 4)
    async with host.process() as process:
        assert (await process.read(ANNA)).entry is None


async def test_a_call_that_outlasts_near_keep_brings_back_nothing() -> None:
    host = Host()
    entry = await host.fills()
    async with host.process() as process:
        await process.read(ANNA)
        host.is_cut_off()
        await anyio.sleep(POLICY.near_keep)
        await process.offer(ANNA, entry)
    async with host.process() as process:
        assert (await process.read(ANNA)).entry is None


async def test_what_a_process_learns_from_its_host_is_dropped_when_the_host_drops_it() -> None:
    host = Host()
    entry = await host.fills()
    host.is_cut_off()
    await anyio.sleep(POLICY.near_keep - 1)
    async with host.process() as process:
        await process.offer(ANNA, replace(entry, snapshot=Snapshot(version=0, exists=False)))
        assert (await process.read(ANNA)).snapshot == entry.snapshot, "the host knew better"
        await anyio.sleep(1)
        assert (await process.read(ANNA)).entry is None


async def test_a_deletion_reaches_the_other_processes_of_the_host_within_near_ttl() -> None:
    host = Host()
    await host.fills()
    async with host.process() as one, host.process() as other:
        assert (await other.read(ANNA)).snapshot.exists
        await one.offer(ANNA, await host.origin.delete(ANNA))
        host.is_cut_off()
        await anyio.sleep(POLICY.near_ttl)
        assert not (await other.read(ANNA)).snapshot.exists


async def test_what_was_deleted_stays_out_of_the_host_long_after_near_keep() -> None:
    host = Host()
    entry = await host.fills()
    async with host.process() as process:
        await process.offer(ANNA, await host.origin.delete(ANNA))
    await anyio.sleep(20 * POLICY.near_keep)
    async with host.process() as process:
        await process.offer(ANNA, entry)
    held = await host.cache.get(ANNA)
    assert held is not None
    assert held.snapshot.is_tombstone


async def test_a_tombstone_that_outlives_near_keep_does_not_hide_who_is_back() -> None:
    host = Host()
    await host.fills()
    async with host.process() as process:
        await process.offer(ANNA, await host.origin.delete(ANNA))
    await host.origin.commit(ANNA, [Talk(base=2).remembers("Has a cat")])
    await anyio.sleep(POLICY.near_keep)
    host.edge.switch.hang()
    async with host.process() as process:
        read = await process.read(ANNA)
    assert (read.tier, read.status, [fact.text for fact in read.snapshot.facts]) == ("origin", "fresh", ["Has a cat"])


async def test_a_tombstone_that_outlives_near_keep_still_keeps_out_what_it_deleted() -> None:
    host = Host()
    entry = await host.fills()
    async with host.process() as process:
        await process.offer(ANNA, await host.origin.delete(ANNA))
    host.edge = FakeCache()
    await host.edge.put(ANNA, entry, keep=1e6)
    await anyio.sleep(POLICY.near_keep)
    host.origin.switch.fail(AWAY)
    async with host.process() as process:
        read = await process.read(ANNA)
        assert (read.tier, read.status, read.snapshot.is_tombstone) == ("host", "degraded", True)
        assert process.deletion(ANNA).version == 2


async def test_what_the_region_confirms_is_remembered_where_the_host_was_late_to_hear_of_it() -> None:
    host = Host()
    await host.fills()
    async with host.process() as process:
        await process.read(ANNA)
        host.cache.switch.fail(AWAY, "put")
        await anyio.sleep(POLICY.near_keep / 2)
        await process.read(ANNA)
        host.is_cut_off()
        await anyio.sleep(POLICY.near_ttl)
        assert (await process.read(ANNA)).snapshot.exists, "the host was asked as well"
        await anyio.sleep(POLICY.near_keep / 2)
        assert (await process.read(ANNA)).snapshot.exists
