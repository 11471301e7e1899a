"""A memory that is slow, or away: a reply waits no longer than told, and a call never breaks."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
from livekit.agents import AgentSession

from edgememory import EdgeMemory, Parts, Session, StoreUnavailableError, Tier
from edgememory.integrations.livekit import MemoryAgent, MemoryToolset, attach
from edgememory.outbox.memory import MemoryOutbox
from edgememory.stores.memory_origin import InMemoryOrigin
from tests.integration.livekit.scripted import ScriptedLLM, Use, said_last
from tests.unit.fakes import Switch

pytestmark = pytest.mark.anyio


async def test_memory_that_hangs_delays_a_reply_by_recall_timeout_and_no_longer(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def hangs(query: str, **options: object) -> object:
        began = anyio.current_time()
        try:
            await anyio.sleep(10)
        finally:
            waited.append(anyio.current_time() - began)
        raise AssertionError("nobody waits for it")

    monkeypatch.setattr(session, "recall", hangs)
    attach(agent_session, session, recall_timeout=0.02)
    await agent_session.start(MemoryAgent(instructions=""))
    result = await agent_session.run(user_input="hello")
    result.expect.next_event().is_message(role="assistant")
    assert len(waited) == 1
    assert [len(blocks) for blocks in model.blocks] == [1]  # of what is known without being looked for


async def test_a_reply_that_is_interrupted_while_memory_hangs_ends_at_once(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()
    recall = session.recall

    async def hangs(query: str, **options: object) -> object:
        if query != "hello":
            return await recall(query)
        asked.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    monkeypatch.setattr(session, "recall", hangs)
    attach(agent_session, session, recall_timeout=3600)
    await agent_session.start(MemoryAgent(instructions=""))
    speech = agent_session.generate_reply(user_input="hello")
    await asked.wait()
    speech.interrupt()
    await cancelled.wait()
    result = await agent_session.run(user_input="my sink")
    result.expect.contains_message(role="assistant")
    assert [len(blocks) for blocks in model.blocks] == [1]


class Away(InMemoryOrigin):
    def __init__(self) -> None:
        super().__init__()
        self.switch = Switch()

    async def get(self, user: object, *, at_least: int = 0) -> object:
        await self.switch.passed("get")
        return await super().get(user, at_least=at_least)


class NoOutbox(MemoryOutbox):
    def __init__(self) -> None:
        super().__init__()
        self.switch = Switch()

    async def append(self, *arguments: object) -> object:
        await self.switch.passed("append")
        return await super().append(*arguments)


@pytest.fixture
async def broken() -> AsyncIterator[EdgeMemory]:
    """A memory whose origin and outbox are away until the test is over."""
    origin, outbox = Away(), NoOutbox()
    origin.switch.fail(StoreUnavailableError("away", store="origin", operation="get"))
    outbox.switch.fail(StoreUnavailableError("away", store="outbox", operation="append"))
    async with EdgeMemory(Parts(origin=Tier(name="origin", store=origin, timeout=0.1), outbox=outbox)) as memory:
        yield memory
        origin.switch.heal()
        outbox.switch.heal()


async def test_a_call_works_while_all_of_memory_is_away(
    agent_session: AgentSession[None], broken: EdgeMemory, model: ScriptedLLM
) -> None:
    model.rule = lambda chat_ctx: (
        Use("recall", '{"query": "sink"}')
        if said_last(chat_ctx) == "look" and chat_ctx.items[-1].type == "message"
        else "I am here."
    )
    async with broken.session("ana", timeout=0.05, leave_timeout=0.05) as session:
        attach(agent_session, session, deep=True, recall_timeout=0.05)
        await agent_session.start(MemoryAgent(instructions="", tools=[MemoryToolset()]))
        for said in ("hello", "look"):
            result = await agent_session.run(user_input=said)
            result.expect.contains_message(role="assistant")
        assert session.degraded
        assert [message.text.strip() for message in session.snapshot.messages] == [
            "hello",
            "I am here.",
            "look",
            "I am here.",
        ]
