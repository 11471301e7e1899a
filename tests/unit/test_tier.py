"""A tier's patience, under virtual time."""

from collections.abc import Awaitable, Callable

import anyio
import pytest
import trio
from trio.testing import MockClock

from edgememory.errors import CorruptEntryError, StoreUnavailableError
from edgememory.stores.memory import InMemoryStore
from edgememory.tier import FIRST_ANSWER, Tier

TIMEOUT = 0.05


def under_virtual_time(test: Callable[[], Awaitable[None]]) -> None:
    trio.run(test, clock=MockClock(autojump_threshold=0))


def tier() -> Tier[InMemoryStore]:
    return Tier(name="redis", store=InMemoryStore(), timeout=TIMEOUT)


async def answer_after(tier: Tier[InMemoryStore], seconds: float) -> None:
    await tier.ask("get", lambda: anyio.sleep(seconds))


def test_a_tier_that_has_not_answered_yet_has_time_to_connect() -> None:
    async def test() -> None:
        asked = tier()
        await answer_after(asked, TIMEOUT + 0.9 * FIRST_ANSWER)
        with pytest.raises(StoreUnavailableError):
            await answer_after(asked, 1.1 * TIMEOUT)

    under_virtual_time(test)


def test_that_time_is_bounded_and_comes_back_until_it_answers() -> None:
    async def test() -> None:
        asked = tier()
        with pytest.raises(StoreUnavailableError, match=r"no answer within 0\.2 s"):
            await answer_after(asked, TIMEOUT + 1.1 * FIRST_ANSWER)
        await answer_after(asked, TIMEOUT + 0.9 * FIRST_ANSWER)

    under_virtual_time(test)


def test_a_bug_in_a_store_is_an_outage_of_its_tier_and_no_more() -> None:
    async def broken() -> None:
        raise TypeError("a driver's bug")

    async def test() -> None:
        asked = tier()
        with pytest.raises(StoreUnavailableError) as raised:
            await asked.ask("get", broken)
        assert isinstance(raised.value.__cause__, TypeError)
        assert (asked.counters.failures, asked.breaker.failures) == (1, 1)

    under_virtual_time(test)


def test_a_damaged_entry_is_a_miss_and_no_outage() -> None:
    async def damaged() -> None:
        raise CorruptEntryError("not an entry")

    async def test() -> None:
        asked = tier()
        with pytest.raises(CorruptEntryError):
            await asked.ask("get", damaged)
        assert (asked.counters.failures, asked.breaker.failures) == (0, 0)

    under_virtual_time(test)
