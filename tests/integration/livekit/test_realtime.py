"""A realtime model, which sees no chat context of ours: it has the block in its instructions."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from livekit.agents import AgentSession
from livekit.agents.llm import (
    ChatContext,
    RealtimeCapabilities,
    RealtimeError,
    RealtimeModel,
    RealtimeSession,
    Tool,
    ToolContext,
)
from livekit.agents.testing import fake_job_context

from edgememory import Session
from edgememory.integrations.livekit import Call, Caller, MemoryAgent, Verified, attach
from tests.integration.livekit.conftest import DOG

pytestmark = pytest.mark.anyio


class Speaker(RealtimeModel):
    """Keeps the instructions that it was given."""

    def __init__(self, *, mutable: bool = True) -> None:
        super().__init__(
            capabilities=RealtimeCapabilities(
                message_truncation=False,
                turn_detection=True,
                user_transcription=True,
                auto_tool_reply_generation=True,
                audio_output=False,
                manual_function_calls=False,
                mutable_instructions=mutable,
            )
        )
        self.instructions: list[str] = []
        self.is_down = False

    def session(self, *, turn_detection_disabled: bool = False) -> "_Speaking":
        return _Speaking(self)

    async def aclose(self) -> None: ...


class _Speaking(RealtimeSession[str]):
    def __init__(self, model: Speaker) -> None:
        super().__init__(model)
        self._speaker = model

    @property
    def chat_ctx(self) -> ChatContext:
        return ChatContext()

    @property
    def tools(self) -> ToolContext:
        return ToolContext([])

    async def update_instructions(self, instructions: str) -> None:
        if self._speaker.is_down:
            raise RealtimeError("timeout")
        self._speaker.instructions.append(instructions)

    async def update_chat_ctx(self, chat_ctx: ChatContext) -> None: ...
    async def update_tools(self, tools: list[Tool]) -> None: ...
    def update_options(self, *, tool_choice: object = None) -> None: ...
    def push_audio(self, frame: object) -> None: ...
    def push_video(self, frame: object) -> None: ...
    def generate_reply(self, **options: object) -> "asyncio.Future[object]":
        raise NotImplementedError

    def commit_audio(self) -> None: ...
    def clear_audio(self) -> None: ...
    def interrupt(self) -> None: ...
    def truncate(self, **options: object) -> None: ...
    async def aclose(self) -> None: ...


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture
async def agent_session(speaker: Speaker) -> AsyncIterator[AgentSession[None]]:
    agent_session = AgentSession[None](llm=speaker, vad=None)
    with fake_job_context() as ctx:
        yield agent_session
        await agent_session.aclose()
        ctx._tempdir.cleanup()  # nobody else does, and Python says so


async def test_a_realtime_model_has_the_block_in_its_instructions_from_the_start(
    agent_session: AgentSession[None], session: Session, speaker: Speaker
) -> None:
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions="Be kind."), capture_run=True)
    assert speaker.instructions[-1].startswith("Be kind.\n\n<user_memory>")
    assert DOG in speaker.instructions[-1]


async def test_an_agent_that_comes_back_has_the_block_once(
    agent_session: AgentSession[None], session: Session, speaker: Speaker
) -> None:
    attach(agent_session, session)
    first, second = MemoryAgent(instructions="Be kind."), MemoryAgent(instructions="Be brief.")
    await agent_session.start(first, capture_run=True)
    for agent in (second, first):
        entered = len(speaker.instructions)
        agent_session.update_agent(agent)
        while len(speaker.instructions) < entered + 2:  # noqa: ASYNC110  (as it stands, then with the block; no Event)
            await asyncio.sleep(0)
    assert speaker.instructions[-1].count(DOG) == 1


async def test_a_realtime_model_is_told_nothing_of_who_is_not_verified_enough(
    agent_session: AgentSession[None], session: Session, speaker: Speaker
) -> None:
    attach(agent_session, Call(session, Caller("ana", Verified.CALLER_ID)))
    await agent_session.start(MemoryAgent(instructions="Be kind."), capture_run=True)
    assert set(speaker.instructions) == {"Be kind."}


async def test_a_realtime_model_is_told_once_the_caller_is_verified(
    agent_session: AgentSession[None], session: Session, speaker: Speaker
) -> None:
    call = Call(session, Caller("ana", Verified.CALLER_ID))
    attach(agent_session, call)
    agent = MemoryAgent(instructions="Be kind.")
    await agent_session.start(agent, capture_run=True)
    call.confirm()
    for _ in range(2):
        await agent.update_memory()
        assert speaker.instructions[-1].startswith("Be kind.\n\n<user_memory>")
        assert speaker.instructions[-1].count(DOG) == 1


async def test_a_realtime_model_that_refuses_the_block_talks_without(
    agent_session: AgentSession[None], session: Session, speaker: Speaker
) -> None:
    attach(agent_session, session)
    speaker.is_down = True
    agent = MemoryAgent(instructions="Be kind.")
    await agent_session.start(agent, capture_run=True)
    assert agent_session.current_agent is agent


@pytest.mark.parametrize("speaker", [Speaker(mutable=False)])
async def test_of_a_realtime_model_that_takes_no_new_instructions_it_is_said_what_to_do(
    agent_session: AgentSession[None], session: Session, speaker: Speaker, caplog: pytest.LogCaptureFixture
) -> None:
    attach(agent_session, session)
    with caplog.at_level(logging.ERROR, logger="edgememory"):
        await agent_session.start(MemoryAgent(instructions="Be kind."), capture_run=True)
    assert speaker.instructions == ["Be kind."]
    assert "session.context()" in caplog.text
