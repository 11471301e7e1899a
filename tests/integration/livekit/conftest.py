"""A user with a past, and the framework's own session, without a room."""

from collections.abc import AsyncIterator

import pytest
from livekit.agents import AgentSession
from livekit.agents.testing import fake_job_context

from edgememory import EdgeMemory, Session
from tests.integration.livekit.scripted import ScriptedLLM

DOG = "Her dog is called Rex"


@pytest.fixture
async def memory() -> AsyncIterator[EdgeMemory]:
    async with EdgeMemory.in_memory() as memory:
        async with memory.session("ana") as earlier:
            earlier.set_name("Ana")
            earlier.remember(DOG)
            earlier.add_message("user", "The plumber broke my kitchen sink")
            await earlier.committed()
        yield memory


@pytest.fixture
async def session(memory: EdgeMemory) -> AsyncIterator[Session]:
    async with memory.session("ana") as session:
        yield session


@pytest.fixture
def model() -> ScriptedLLM:
    return ScriptedLLM()


@pytest.fixture
async def agent_session(model: ScriptedLLM) -> AsyncIterator[AgentSession[None]]:
    agent_session = AgentSession[None](llm=model, vad=None, turn_handling={"turn_detection": "manual"})
    with fake_job_context() as ctx:
        yield agent_session
        await agent_session.aclose()
        ctx._tempdir.cleanup()  # nobody else does, and Python says so
