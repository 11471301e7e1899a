"""Memory in the framework's voice pipeline: speech in, speech out."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from livekit.agents import AgentSession, ConversationItemAddedEvent
from livekit.agents.llm import ChatMessage
from livekit.agents.testing import fake_job_context

from edgememory import Session
from edgememory.integrations.livekit import MemoryAgent, attach
from tests.integration.livekit.scripted import ScriptedLLM
from tests.integration.livekit.voice import Ears, Loudspeaker, Microphone, Voice

pytestmark = pytest.mark.anyio


class Call:
    """A caller on the line."""

    def __init__(self, agent_session: AgentSession[None], ears: Ears) -> None:
        self._session = agent_session
        self._ears = ears
        self.items: asyncio.Queue[ChatMessage] = asyncio.Queue()
        agent_session.on("conversation_item_added", self._added)

    def _added(self, event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, ChatMessage):
            self.items.put_nowait(event.item)

    async def says(self, text: str) -> None:
        await self._ears.hear(text)

    async def hears(self) -> ChatMessage:
        while (item := await self.items.get()).role != "assistant":
            pass
        return item


@pytest.fixture
async def voice(model: ScriptedLLM) -> AsyncIterator[tuple[AgentSession[None], Call]]:
    ears = Ears()
    agent_session = AgentSession[None](
        llm=model,
        stt=ears,
        tts=Voice(),
        vad=None,
        turn_handling={"turn_detection": "stt", "endpointing": {"min_delay": 0.2, "max_delay": 0.2}},
    )
    agent_session.input.audio, agent_session.output.audio = Microphone(), Loudspeaker()
    with fake_job_context() as ctx:
        yield agent_session, Call(agent_session, ears)
        await agent_session.aclose()
        ctx._tempdir.cleanup()  # nobody else does, and Python says so


async def test_a_reply_that_was_begun_early_is_used_and_has_the_block_once(
    voice: tuple[AgentSession[None], Call], session: Session, model: ScriptedLLM, caplog: pytest.LogCaptureFixture
) -> None:
    agent_session, call = voice
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions="Be kind."))
    with caplog.at_level(logging.DEBUG, logger="livekit.agents"):
        for said in ("hello there", "and my dog"):
            await call.says(said)
            await call.hears()
    said_of_it = [record.message for record in caplog.records if "preemptive generation" in record.message]
    assert said_of_it == ["using preemptive generation"] * 2
    assert [len(blocks) for blocks in model.blocks] == [1] * len(model.blocks)


async def test_a_reply_cut_off_while_it_plays_is_recorded_as_such(
    voice: tuple[AgentSession[None], Call], session: Session
) -> None:
    agent_session, call = voice
    agent_session.output.audio = loudspeaker = Loudspeaker(at_once=False)
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions=""))
    await call.says("count to ten")
    await loudspeaker.plays.wait()
    await agent_session.interrupt()
    heard = await call.hears()
    last = session.snapshot.messages[-1]
    assert heard.interrupted
    assert (last.role, last.text, last.interrupted) == ("assistant", heard.text_content, True)


async def test_a_session_that_closes_while_a_reply_plays_keeps_what_was_said(
    voice: tuple[AgentSession[None], Call], session: Session
) -> None:
    agent_session, call = voice
    agent_session.output.audio = loudspeaker = Loudspeaker(at_once=False)
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions=""))
    await call.says("count to ten")
    await loudspeaker.plays.wait()
    await agent_session.aclose()
    last = session.snapshot.messages[-1]
    assert (last.role, last.interrupted) == ("assistant", True)
    assert last.text
