"""The queue before the outbox, in virtual time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
import trio.testing

from edgememory.changes import Change
from edgememory.errors import OutboxFullError, StoreBlockedError
from edgememory.models import Pending, UserKey
from edgememory.outbox.backoff import LONGEST
from edgememory.outbox.writer import OutboxWriter
from edgememory.testing.talk import Talk
from tests.unit.fakes import ANNA, BERT, FakeOutbox

BROKEN = StoreBlockedError("the disk is full", store="outbox", operation="append")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def outbox() -> FakeOutbox:
    return FakeOutbox()


@asynccontextmanager
async def running(writer: OutboxWriter) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(writer.run)
        yield
        group.cancel_scope.cancel()


def said(text: str = "hello") -> Change:
    return Talk().says(text)


async def test_what_was_submitted_becomes_durable_in_order(outbox: FakeOutbox) -> None:
    writer = OutboxWriter(outbox)
    changes = [said() for _ in range(5)]
    async with running(writer):
        assert all(writer.submit(ANNA, change) for change in changes)
        assert writer.queued(ANNA) == changes
        assert writer.behind
        await writer.written()
    assert (await outbox.pending(ANNA)).changes == tuple(changes)
    assert writer.queued(ANNA) == []
    assert not writer.behind


async def test_written_waits_for_everybody_s() -> None:
    outbox = Choosy()
    outbox.takes = 1.0
    writer = OutboxWriter(outbox)
    async with running(writer):
        for number in range(3):
            writer.submit(UserKey("clinic", f"caller {number}"), said())
        await writer.written()
        assert not writer.behind


async def test_what_arrives_during_one_append_goes_with_the_next(outbox: FakeOutbox) -> None:
    writer = OutboxWriter(outbox)
    async with running(writer):
        outbox.switch.hang()
        writer.submit(ANNA, said())
        await anyio.sleep(1)
        for _ in range(5):
            writer.submit(ANNA, said())
        outbox.switch.heal()
        await writer.written()
    assert outbox.switch.asked == ["append", "append"]
    assert len((await outbox.pending(ANNA)).changes) == 6


async def test_the_queue_is_bounded_by_bytes_and_has_room_again(outbox: FakeOutbox) -> None:
    size = len(msgspec.json.encode(said()))
    writer = OutboxWriter(outbox, queue_bytes=3 * size)
    async with running(writer):
        outbox.switch.hang()
        assert [writer.submit(user, said()) for user in (ANNA, BERT, ANNA, BERT)] == [True, True, True, False]
        outbox.switch.heal()
        await writer.written()
        outbox.switch.hang()
        assert [writer.submit(ANNA, said()) for _ in range(4)] == [True, True, True, False]


async def test_an_empty_queue_has_room_for_any_change(outbox: FakeOutbox) -> None:
    writer = OutboxWriter(outbox, queue_bytes=1)
    async with running(writer):
        outbox.switch.hang()
        assert writer.submit(ANNA, said())
        assert not writer.submit(ANNA, said())
        outbox.switch.heal()
        await writer.written()
        assert writer.submit(ANNA, said())


@pytest.mark.parametrize("error", [BROKEN, OutboxFullError("full"), RuntimeError("a bug")])
async def test_a_failure_is_tried_again_until_it_is_durable(outbox: FakeOutbox, error: Exception) -> None:
    writer = OutboxWriter(outbox)
    async with running(writer):
        outbox.switch.fail(error)
        writer.submit(ANNA, said())
        await anyio.sleep(3600)
        assert writer.behind
        assert 3600 / LONGEST <= len(outbox.switch.asked) <= 2 * 3600 / LONGEST + 20
        outbox.switch.heal()
        await writer.written()
    assert len((await outbox.pending(ANNA)).changes) == 1


async def test_one_user_s_failure_holds_up_no_other(outbox: FakeOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    append = outbox.append

    async def all_but_anna(user: Any, changes: Any) -> Any:
        if user == ANNA:
            raise BROKEN
        return await append(user, changes)

    monkeypatch.setattr(outbox, "append", all_but_anna)
    writer = OutboxWriter(outbox)
    async with running(writer):
        writer.submit(ANNA, said())
        writer.submit(BERT, said())
        await writer.appended(BERT).wait()
        assert anyio.current_time() == 0
        assert writer.queued(ANNA)
        assert not writer.queued(BERT)


async def test_a_writer_that_has_ended_takes_nothing(outbox: FakeOutbox) -> None:
    writer = OutboxWriter(outbox)
    async with running(writer):
        await anyio.lowlevel.checkpoint()
    assert not writer.submit(ANNA, said())


class Choosy(FakeOutbox):
    """Takes nothing of Anna's, and everything of others; each append takes as long as is said."""

    takes = 0.0

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        if user == ANNA:
            raise OutboxFullError("too much of Anna's")
        pending = await super().append(user, changes)
        await anyio.sleep(self.takes)
        return pending


async def test_one_user_s_long_failure_makes_no_other_wait_for_the_next_try() -> None:
    writer = OutboxWriter(Choosy())
    async with running(writer):
        writer.submit(ANNA, said())
        await anyio.sleep(600)
        for _ in range(3):
            writer.submit(BERT, said())
            with anyio.fail_after(0.01):
                await writer.appended(BERT).wait()
    assert len(writer.queued(ANNA)) == 1


async def test_who_leaves_does_not_wait_for_the_appends_of_others() -> None:
    outbox = Choosy()
    outbox.takes = 1.0
    writer = OutboxWriter(outbox)
    async with running(writer):
        for number in range(10):
            writer.submit(UserKey("clinic", str(number)), said())
        with anyio.fail_after(1.5):
            await writer.appended(UserKey("clinic", "0")).wait()


async def test_who_waits_for_an_append_gets_the_answer_for_the_own_user(outbox: FakeOutbox) -> None:
    writer = OutboxWriter(outbox)
    earlier, of_anna, of_bert = said(), said(), said()
    await outbox.append(ANNA, [earlier])
    async with running(writer):
        writer.submit(ANNA, of_anna)
        writer.submit(BERT, of_bert)
        for_anna, for_bert = writer.appended(ANNA), writer.appended(BERT)
        assert await for_anna.wait() == Pending((earlier, of_anna))
        assert await for_bert.wait() == Pending((of_bert,))


async def test_where_nothing_is_queued_the_outbox_has_said_nothing(outbox: FakeOutbox) -> None:
    writer = OutboxWriter(outbox)
    async with running(writer):
        assert await writer.appended(ANNA).wait() is None
        writer.submit(ANNA, said())
        await writer.written()
        assert await writer.appended(ANNA).wait() is None


async def test_the_answer_to_an_append_that_was_under_way_is_too_old() -> None:
    outbox = Choosy()
    outbox.takes = 1.0
    writer = OutboxWriter(outbox)
    first, second = said(), said()
    async with running(writer):
        writer.submit(BERT, first)
        await anyio.sleep(0.5)
        early = writer.appended(BERT)
        writer.submit(BERT, second)
        late = writer.appended(BERT)
        assert await early.wait() is None
        assert await late.wait() == Pending((first, second))


async def test_an_append_that_failed_answers_when_it_is_repeated(outbox: FakeOutbox) -> None:
    writer = OutboxWriter(outbox)
    change = said()
    async with running(writer):
        outbox.switch.fail(BROKEN)
        writer.submit(ANNA, change)
        await trio.testing.wait_all_tasks_blocked()
        appended = writer.appended(ANNA)
        outbox.switch.heal()
        assert await appended.wait() == Pending((change,))
