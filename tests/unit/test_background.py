"""Tasks that nobody owns."""

import logging

import anyio
import anyio.lowlevel
import pytest

from edgememory.background import Background
from edgememory.errors import EdgeMemoryError
from edgememory.telemetry import Counters

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


async def test_a_task_that_starts_another_one_while_all_is_closed_is_no_error(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    counters = Counters()
    background, waiting, called = Background(counters), anyio.Event(), anyio.Event()

    async def starts_another() -> None:
        waiting.set()
        await called.wait()
        background.start(anyio.sleep_forever)

    with caplog.at_level(logging.ERROR):
        async with background:
            background.start(starts_another)
            await waiting.wait()
            called.set()
    assert (counters.background_errors, caplog.text) == (0, "")


async def test_nothing_is_started_before_it_is_open_or_after_it_was_closed(anyio_backend: str) -> None:
    background = Background(Counters())
    for _ in range(2):
        with pytest.raises(EdgeMemoryError, match="not open"):
            background.start(anyio.sleep_forever)
        async with background:
            background.start(anyio.sleep_forever)


async def test_a_task_that_fails_is_counted_and_takes_no_other_along(anyio_backend: str) -> None:
    counters = Counters()
    failed, done = anyio.Event(), anyio.Event()

    async def fails() -> None:
        failed.set()
        raise RuntimeError

    async def goes_on() -> None:
        await failed.wait()
        await anyio.lowlevel.checkpoint()
        done.set()

    async with Background(counters) as background:
        background.start(goes_on)
        background.start(fails)
        await failed.wait()
        with anyio.fail_after(5):
            await done.wait()
        background.start(anyio.sleep_forever)
    assert counters.background_errors == 1
