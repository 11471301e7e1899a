"""One load for many readers, and its place among the running ones."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from edgememory.background import Background
from edgememory.errors import EdgeMemoryError
from edgememory.single_flight import SingleFlight
from edgememory.telemetry import Counters


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_load_that_has_a_successor_leaves_it_its_place(anyio_backend: str) -> None:
    counters = Counters()
    ends = anyio.Event()
    async with Background(counters) as background:
        flights = SingleFlight[str, int](background)
        flights.start("anna", lambda _: ends.wait())
        successor = flights.start("anna", lambda _: anyio.sleep_forever())
        await checkpoint()
        ends.set()
        for _ in range(10):
            await checkpoint()
        assert flights.running("anna") is successor
    assert counters.background_errors == 0


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_nobody_waits_for_a_load_that_could_not_be_started(anyio_backend: str) -> None:
    async with Background(Counters()) as background:
        flights = SingleFlight[str, int](background)
    with pytest.raises(EdgeMemoryError, match="not open"):
        flights.start("anna", lambda _: anyio.sleep_forever())
    assert flights.running("anna") is None
