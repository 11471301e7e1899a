"""A user with a past, who calls."""

from collections.abc import AsyncIterator

import pytest
from loguru import logger

from edgememory import EdgeMemory
from edgememory.integrations.pipecat import EdgeMemoryService
from tests.integration.pipecat.scripted import ScriptedLLM

DOG = "Her dog is called Rex"


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    """Pipecat logs each frame to stderr; without a listener that costs a test nothing."""
    logger.remove()


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
def service(memory: EdgeMemory) -> EdgeMemoryService:
    return EdgeMemoryService(memory, user_id="ana", agent_id="receptionist")


@pytest.fixture
def model() -> ScriptedLLM:
    return ScriptedLLM()
