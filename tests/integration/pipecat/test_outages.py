"""A memory that is slow, or away: a reply waits no longer than told, and a call never breaks."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest
from pipecat.frames.frames import ErrorFrame

from edgememory import EdgeMemory, Parts, StoreUnavailableError, Tier
from edgememory.changes import Change, MessageAdded
from edgememory.integrations.pipecat import EdgeMemoryService, memory_tools
from edgememory.models import Committed, Entry, Pending, UserKey
from edgememory.outbox.file import FileOutbox
from edgememory.outbox.memory import MemoryOutbox
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from tests.integration.pipecat.calls import Call, running
from tests.integration.pipecat.conftest import DOG
from tests.integration.pipecat.scripted import ScriptedLLM, Use, blocks_in, text_of
from tests.unit.fakes import Switch

pytestmark = pytest.mark.anyio


class Origin(InMemoryOrigin):
    def __init__(self) -> None:
        super().__init__()
        self.switch = Switch()

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        await self.switch.passed("get")
        return await super().get(user, at_least=at_least)

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        await self.switch.passed("commit")
        return await super().commit(user, changes)


class Outbox(MemoryOutbox):
    def __init__(self) -> None:
        super().__init__()
        self.switch = Switch()

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        await self.switch.passed("append")
        return await super().append(user, changes)


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
async def outbox() -> AsyncIterator[Outbox]:
    outbox = Outbox()
    yield outbox
    outbox.switch.heal()


@pytest.fixture
async def far(origin: Origin, outbox: Outbox) -> AsyncIterator[EdgeMemory]:
    """A memory that may be away."""
    async with EdgeMemory(Parts(origin=Tier(name="origin", store=origin, timeout=30), outbox=outbox)) as memory:
        async with memory.session("ana") as earlier:
            earlier.remember(DOG)
            await earlier.committed()
        yield memory
        origin.switch.heal()
        outbox.switch.heal()


async def test_memory_that_hangs_delays_a_reply_by_recall_timeout_and_no_longer(
    memory: EdgeMemory, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = EdgeMemoryService(memory, user_id="ana", params=EdgeMemoryService.InputParams(recall_timeout=0.02))
    asked: list[str] = []

    async def hangs(query: str, **_: object) -> None:
        asked.append(query)
        await anyio.sleep_forever()

    monkeypatch.setattr(service.session, "recall", hangs)
    async with running(Call(service, model)) as call:
        await call.append("hello")
        await call.answered()
    assert asked == ["hello"]
    assert DOG in model.blocks[0][0]  # of what is known without being looked for


async def test_a_call_works_while_all_of_memory_is_away(
    far: EdgeMemory, origin: Origin, outbox: Outbox, model: ScriptedLLM
) -> None:
    origin.switch.fail(StoreUnavailableError("away", store="origin", operation="get"))
    outbox.switch.fail(StoreUnavailableError("away", store="outbox", operation="append"))
    model.rule = lambda messages: (
        Use("recall", {"query": "sink"})
        if messages[-1]["role"] == "user" and text_of(messages[-1]) == "look"
        else "I am here."
    )
    service = EdgeMemoryService(far, user_id="bert", params=EdgeMemoryService.InputParams(deep=True))
    async with running(Call(service, model, tools=memory_tools(service))) as call:
        for said in ("hello", "look"):
            await call.turn(said)
        assert service.session.degraded
    assert [text for _, text in call.recorded] == ["hello", "I am here.", "look", "I am here."]
    assert not any(isinstance(frame, ErrorFrame) for frame in call.reached.frames)


async def test_a_bug_in_memory_costs_what_it_spoils_and_not_the_call(
    service: EdgeMemoryService, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service.session, "add_message", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(service.session, "context", lambda **_: 1 / 0)
    async with running(Call(service, model)) as call:
        await call.turn("hello")
        await call.turn("are you there?")
    assert model.blocks == [[], []]
    assert "a turn goes without memory" in caplog.text
    assert "a message is not recorded" in caplog.text


async def test_what_is_said_while_memory_still_opens_is_kept(
    memory: EdgeMemory, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = EdgeMemoryService(memory, user_id="ana")
    opening, may_open = anyio.Event(), anyio.Event()
    enter = service.session.__class__.__aenter__

    async def slowly(session: object) -> object:
        opening.set()
        await may_open.wait()
        return await enter(session)  # type: ignore[arg-type]  # the session itself

    monkeypatch.setattr(service.session.__class__, "__aenter__", slowly)
    call = Call(service, model)
    async with anyio.create_task_group() as tasks:

        async def hold_it() -> None:
            async with running(call):
                await call.answered()

        tasks.start_soon(hold_it)
        await opening.wait()
        call.context.add_message({"role": "user", "content": "Hello? Is anybody there?"})
        await service.prefetch("anybody")
        await call.pick_up()
        may_open.set()
    assert call.recorded[0] == ("user", "Hello? Is anybody there?")
    assert blocks_in(model.given[0])


async def test_a_memory_that_is_not_open_costs_one_error_and_not_the_call(
    model: ScriptedLLM, caplog: pytest.LogCaptureFixture
) -> None:
    service = EdgeMemoryService(EdgeMemory.in_memory(), user_id="ana")
    errors: list[str] = []
    service.add_event_handler("on_error", lambda _, error: errors.append(error.error))
    async with running(Call(service, model)) as call:
        await call.turn("hello")
    assert model.blocks == [[]]
    assert len(errors) == 1
    assert "async with memory" in errors[0]
    assert not [record for record in caplog.records if record.name == "edgememory"]


async def test_a_half_reply_outlives_the_process_when_the_origin_is_away(
    origin: Origin, model: ScriptedLLM, tmp_path: Path
) -> None:
    origin.switch.fail(StoreUnavailableError("away", store="origin", operation="get"))
    path = tmp_path / "outbox.sqlite"
    parts = Parts(origin=Tier(name="origin", store=origin, timeout=1), outbox=FileOutbox(path))
    async with EdgeMemory(parts, close_timeout=0) as memory:
        service = EdgeMemoryService(memory, user_id="ana")
        model.stays_silent = asyncio.Event()
        async with running(Call(service, model)) as call:
            await call.say("count")
            await model.spoke.wait()
    outbox = FileOutbox(path)
    pending = await outbox.pending(UserKey("default", "ana"))
    await outbox.aclose()
    said = [change for change in pending.changes if isinstance(change, MessageAdded)]
    assert [(it.role, it.text, it.interrupted) for it in said] == [("user", "count", False), ("assistant", "You", True)]


async def test_who_calls_back_is_known_in_the_region_while_the_origin_takes_nothing(
    origin: Origin, model: ScriptedLLM
) -> None:
    origin.switch.fail(StoreUnavailableError("away", store="origin", operation="commit"), "commit")
    edge = InMemoryStore()
    caches = [Tier(name="edge", store=edge, timeout=1)]
    parts = Parts(origin=Tier(name="origin", store=origin, timeout=1), outbox=MemoryOutbox(), caches=caches)
    async with EdgeMemory(parts, close_timeout=0) as memory:
        async with running(Call(EdgeMemoryService(memory, user_id="ana"), model)) as call:
            await call.turn("hello")
        entry = await edge.get(UserKey("default", "ana"))
    assert entry is not None
    assert [it.text for it in entry.snapshot.messages] == ["hello", "You said: hello"]
