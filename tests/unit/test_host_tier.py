"""The host's cache in the read path: as near as process memory, and no more to be believed."""

import math
from pathlib import Path
from typing import cast

import anyio
import pytest

from edgememory import EdgeMemory, Policy
from edgememory.errors import StoreUnavailableError
from edgememory.parts import Parts
from edgememory.stores.host import HostStore
from edgememory.testing.talk import Talk
from edgememory.tier import NearTier, Tier
from edgememory.walk import Read
from tests.unit.fakes import ANNA, NOW, FakeCache, FakeOrigin, FakeOutbox

AWAY = StoreUnavailableError("no route", store="any", operation="get")


class Host:
    """Its processes, one after the other. Its clock is turned by hand, since a file is read in real time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = NOW
        self.origin, self.outbox, self.cache = FakeOrigin(now=self.now), FakeOutbox(now=self.now), FakeCache()

    def now(self) -> float:
        return self.seconds

    def process(self) -> EdgeMemory:
        store = HostStore(self.folder / "cache.sqlite", now=self.now)
        near = NearTier(name="host", store=store, timeout=60.0, monotonic=self.now)
        edge = Tier(name="edge", store=self.cache, timeout=0.05, monotonic=self.now)
        origin = Tier(name="origin", store=self.origin, timeout=1.0, monotonic=self.now)
        parts = Parts(origin=origin, outbox=self.outbox, caches=[near, edge])
        return EdgeMemory(parts, namespace=ANNA.namespace, policy=Policy(), now=self.now, monotonic=self.now)

    async def read(self) -> Read:
        """Read in a process that is new, and ends when the host's cache has heard of what others said."""
        asked = self.edge_reads() if self.origin.switch.error is None else math.inf
        async with self.process() as memory:
            read = await memory.warm("anna")
            store = memory._opened().tiered.caches[0].store
            while self.edge_reads() > asked:
                found = await cast(HostStore, store).find(ANNA)
                if found is not None and found.unconfirmed == 0:
                    break
                await anyio.sleep(0.001)
            return read

    def edge_reads(self) -> int:
        return self.cache.switch.asked.count("get")

    def cut_off(self) -> None:
        for switch in (self.origin.switch, self.cache.switch):
            switch.fail(AWAY)


@pytest.fixture
async def host(tmp_path: Path) -> Host:
    host = Host(tmp_path)
    await host.origin.commit(ANNA, [Talk(base=0, started=NOW).says("hello")])
    return host


async def test_a_new_process_opens_a_known_user_without_any_network(host: Host) -> None:
    assert (await host.read()).tier == "origin"
    host.cut_off()
    async with host.process() as memory, memory.session("anna") as session:
        assert [message.text for message in session.snapshot.messages] == ["hello"]
        assert (session.opened_with.tier, session.opened_with.status) == ("host", "fresh")
        assert host.edge_reads() == 1, "of the first process"


async def test_after_a_minute_without_confirmation_it_answers_only_while_the_others_are_asked(host: Host) -> None:
    await host.read()
    host.seconds += 61
    assert ((await host.read()).status, host.edge_reads()) == ("fresh", 2)
    host.seconds += 30
    assert ((await host.read()).status, host.edge_reads()) == ("fresh", 2), "the edge has confirmed it"
    host.seconds += 31
    host.cut_off()
    read = await host.read()
    assert (read.tier, read.status, host.edge_reads()) == ("host", "stale", 3)


async def test_near_caches_do_not_confirm_each_other(host: Host) -> None:
    await host.read()
    host.seconds += 50
    async with host.process() as memory:
        assert (await memory.warm("anna")).tier == "host"
        host.seconds += 9
        await memory.warm("anna")
        assert host.edge_reads() == 1
        host.seconds += 2
        await memory.warm("anna")
        assert host.edge_reads() == 2


async def test_what_nobody_has_confirmed_for_an_hour_is_dropped_and_is_not_brought_back_by_process_memory(
    host: Host,
) -> None:
    await host.read()
    host.cut_off()
    host.seconds += 3000
    async with host.process() as memory:
        assert (await memory.warm("anna")).tier == "host"
        host.seconds += 599
        assert (await memory.warm("anna")).tier in ("host", "memory")
        host.seconds += 2
        assert (await memory.warm("anna")).tier == ""
    assert (await host.read()).tier == ""


async def test_a_deletion_reaches_it_and_its_tombstone_outlives_what_is_dropped(host: Host) -> None:
    async with host.process() as memory:
        await memory.warm("anna")
        receipt = await memory.delete_user("anna")
    assert {cleared.store: cleared.cleared for cleared in receipt.stores}["host"]
    assert "other hosts" in {cleared.store for cleared in receipt.stores}
    host.seconds += 2 * 3600
    host.cut_off()
    read = await host.read()
    assert (read.tier, read.snapshot.is_tombstone) == ("host", True)


async def test_a_host_whose_disk_fails_costs_nothing_but_itself(host: Host) -> None:
    (host.folder / "cache.sqlite").mkdir()
    async with host.process() as memory:
        read = await memory.warm("anna")
    assert (read.tier, read.status) == ("origin", "fresh")
