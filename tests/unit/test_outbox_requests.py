"""How often a call asks the outbox, which may be a network away: once when it is opened, once when it is left."""

from collections.abc import AsyncIterator

import anyio
import pytest

from edgememory import EdgeMemory
from edgememory.errors import StoreUnavailableError
from tests.unit.fakes import ANNA, FakeCache, FakeOrigin, FakeOutbox, parts

AWAY = StoreUnavailableError("connection refused", store="origin", operation="commit")

pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


class CountedOutbox(FakeOutbox):
    def asked(self) -> list[str]:
        """Return what was asked since this was last called; delivery's claims, for which nobody waits, are left out."""
        asked = [operation for operation in self.switch.asked if operation in ("append", "pending")]
        self.switch.asked.clear()
        return asked


@pytest.fixture
def outbox() -> CountedOutbox:
    return CountedOutbox()


@pytest.fixture
async def memory(outbox: CountedOutbox) -> AsyncIterator[EdgeMemory]:
    origin = FakeOrigin()
    origin.switch.fail(AWAY, "commit")  # so that delivery asks for nothing but claims
    async with EdgeMemory(parts(origin, outbox, FakeCache()), namespace=ANNA.namespace) as memory:
        await memory.warm(ANNA.user_id)
        outbox.asked()
        yield memory


async def test_opening_asks_once_and_leaving_without_a_change_not_at_all(
    memory: EdgeMemory, outbox: CountedOutbox
) -> None:
    async with memory.session(ANNA.user_id):
        await anyio.wait_all_tasks_blocked()
        assert outbox.asked() == ["pending"]
    await anyio.wait_all_tasks_blocked()
    assert outbox.asked() == []


async def test_a_session_that_is_left_at_once_is_left_with_the_append(
    memory: EdgeMemory, outbox: CountedOutbox
) -> None:
    async with memory.session(ANNA.user_id) as session:
        outbox.asked()
        session.add_message("user", "one")
        session.add_message("user", "two")
    await anyio.wait_all_tasks_blocked()
    assert outbox.asked() == ["append"]


async def test_a_session_that_said_everything_long_before_asks_what_waits(
    memory: EdgeMemory, outbox: CountedOutbox
) -> None:
    async with memory.session(ANNA.user_id) as session:
        session.add_message("user", "one")
        session.add_message("user", "two")
        await anyio.wait_all_tasks_blocked()
        outbox.asked()
    await anyio.wait_all_tasks_blocked()
    assert outbox.asked() == ["pending"]


@pytest.mark.parametrize(("last_words", "asked"), [(True, ["append"]), (False, ["pending"])])
async def test_a_session_that_is_left_during_an_append_asks_once_more(
    memory: EdgeMemory, outbox: CountedOutbox, last_words: bool, asked: list[str]
) -> None:
    async def answer() -> None:
        await anyio.wait_all_tasks_blocked()
        outbox.switch.heal()

    async with anyio.create_task_group() as group, memory.session(ANNA.user_id) as session:
        outbox.switch.hang("append")
        session.add_message("user", "one")
        await anyio.wait_all_tasks_blocked()
        if last_words:
            session.add_message("user", "two")
        outbox.asked()
        group.start_soon(answer)
    await anyio.wait_all_tasks_blocked()
    assert outbox.asked() == asked


async def test_sessions_of_a_user_that_are_left_together_share_the_append(
    memory: EdgeMemory, outbox: CountedOutbox
) -> None:
    async def call(text: str) -> None:
        async with memory.session(ANNA.user_id) as session:
            session.add_message("user", text)

    async with anyio.create_task_group() as group:
        for text in ("one", "two", "three"):
            group.start_soon(call, text)
    await anyio.wait_all_tasks_blocked()
    assert sorted(outbox.asked()) == ["append", "pending", "pending", "pending"], "each was opened"
