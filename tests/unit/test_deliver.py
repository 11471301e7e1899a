"""A process that leaves delivery to another one, and the one that delivers for all."""

from typing import Any

import anyio
import pytest
import trio.testing

from edgememory import EdgeMemory, EdgeMemoryError, StoreUnavailableError
from tests.unit.fakes import ANNA, FakeOrigin, FakeOutbox, parts, virtual_now

AWAY = StoreUnavailableError("connection refused", store="origin", operation="commit")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Host:
    """Two processes on one outbox: what `job` leaves in it, `server` brings to the origin."""

    def __init__(self) -> None:
        self.origin = FakeOrigin()
        self.outbox = FakeOutbox()
        self.job = self._process(self.outbox)
        self.server = self._process(self.outbox.of_another_process())

    def _process(self, outbox: FakeOutbox) -> EdgeMemory:
        return EdgeMemory(parts(self.origin, outbox), namespace="clinic", now=virtual_now, monotonic=anyio.current_time)

    async def call(self, text: str) -> None:
        async with self.job.session("anna") as session:
            session.add_message("user", text)


@pytest.fixture
async def host() -> Host:
    return Host()


@pytest.mark.anyio
async def test_what_a_process_does_not_deliver_is_durable_and_waits_for_one_that_does(host: Host) -> None:
    await host.job.open(deliver=False)
    await host.call("hello")
    await anyio.sleep(3600)
    assert host.origin.commits == []
    await host.job.aclose()
    assert (await host.outbox.depth()).changes == 1
    async with host.server:
        assert await host.server.deliver()
        assert host.origin.texts(ANNA) == ["hello"]


@pytest.mark.anyio
async def test_closing_a_process_that_does_not_deliver_waits_for_no_origin(host: Host) -> None:
    host.origin.switch.hang()
    await host.job.open(deliver=False)
    await host.call("hello")
    began = anyio.current_time()
    await host.job.aclose()
    assert anyio.current_time() == began  # in virtual time: nothing was waited for
    host.origin.switch.heal()


@pytest.mark.anyio
async def test_opening_a_process_that_does_not_deliver_waits_for_nothing(host: Host) -> None:
    host.outbox.switch.hang()
    began = anyio.current_time()
    await host.job.open(deliver=False)
    assert anyio.current_time() == began
    host.outbox.switch.heal()
    await host.job.aclose()


@pytest.mark.anyio
async def test_who_delivers_hears_at_once_of_what_others_left_when_asked_to(host: Host) -> None:
    async with host.server:
        assert await host.server.deliver()  # it has looked, and sleeps
        await host.job.open(deliver=False)
        await host.call("hello")
        began = anyio.current_time()
        assert await host.server.deliver()
        assert anyio.current_time() == began
        await host.job.aclose()
    assert host.origin.texts(ANNA) == ["hello"]


@pytest.mark.anyio
async def test_an_origin_that_comes_back_in_time_has_everything(host: Host) -> None:
    host.origin.switch.fail(AWAY, "commit")
    async with host.server:
        async with host.server.session("anna") as session:
            session.add_message("user", "hello")
        async with anyio.create_task_group() as group:
            group.start_soon(self_healing, host.origin)
            assert await host.server.deliver(timeout=20)
        assert host.origin.texts(ANNA) == ["hello"]


async def self_healing(origin: FakeOrigin) -> None:
    await anyio.sleep(5)
    origin.switch.heal()


@pytest.mark.anyio
async def test_an_origin_that_stays_away_is_said_after_the_timeout(host: Host) -> None:
    host.origin.switch.fail(AWAY, "commit")
    async with host.server:
        async with host.server.session("anna") as session:
            session.add_message("user", "hello")
        began = anyio.current_time()
        assert not await host.server.deliver(timeout=20)
        assert anyio.current_time() == began + 20
        host.origin.switch.heal()


@pytest.mark.anyio
async def test_who_does_not_deliver_says_so_when_asked_to(host: Host) -> None:
    await host.job.open(deliver=False)
    with pytest.raises(EdgeMemoryError, match="deliver=False"):
        await host.job.deliver()
    await host.job.aclose()
