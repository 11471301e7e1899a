"""Memory as tools of the model, and as a drop-in for Pipecat's own memory service."""

import subprocess
import sys

import pytest
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage
from pydantic import ValidationError

from edgememory import EdgeMemory
from edgememory.integrations.pipecat import EdgeMemoryService, memory_tools
from tests.integration.pipecat.calls import Call, running
from tests.integration.pipecat.conftest import DOG
from tests.integration.pipecat.scripted import Rule, ScriptedLLM, Use, text_of

pytestmark = pytest.mark.anyio


def uses(tool: str, **arguments: object) -> Rule:
    def rule(messages: list[LLMContextMessage]) -> str | Use:
        return text_of(messages[-1]) if messages[-1]["role"] == "tool" else Use(tool, arguments)

    return rule


@pytest.mark.parametrize(
    ("rule", "answer", "facts"),
    [
        (uses("recall", query="kitchen sink"), "The plumber broke my kitchen sink", {DOG}),
        (uses("remember", fact="Likes tea"), "Remembered: Likes tea", {DOG, "Likes tea"}),
        (uses("forget", fact=DOG), f"Forgotten: {DOG}", set()),
    ],
)
async def test_the_model_s_tools_recall_remember_and_forget(
    service: EdgeMemoryService, model: ScriptedLLM, rule: Rule, answer: str, facts: set[str]
) -> None:
    model.rule = rule
    async with running(Call(service, model, tools=memory_tools(service))) as call:
        await call.turn("please")
        assert {fact.text for fact in service.session.snapshot.facts} == facts
    assert answer in text_of(model.given[1][-1])


async def test_the_model_is_told_what_each_tool_is_for(service: EdgeMemoryService) -> None:
    schema = LLMContext(tools=memory_tools(service)).tools
    assert isinstance(schema, ToolsSchema)
    tools = {tool.name: tool for tool in schema.standard_tools}
    assert list(tools) == ["recall", "remember", "forget"]
    for tool in tools.values():
        assert tool.description
        (parameter,) = tool.properties.values()
        assert parameter["type"] == "string"
        assert parameter["description"]
        assert tool.required == list(tool.properties)


async def test_what_is_known_can_be_had_before_the_call_and_during_it(memory: EdgeMemory, model: ScriptedLLM) -> None:
    service = EdgeMemoryService(memory, user_id="ana")
    assert [each["memory"] for each in await service.get_memories()] == [DOG]
    async with running(Call(service, model)):
        service.session.remember("Likes tea", importance=9)
        assert [each["memory"] for each in await service.get_memories()] == ["Likes tea", DOG]
    assert await EdgeMemoryService(memory).get_memories() == []


def test_settings_of_another_memory_service_are_refused_and_not_ignored() -> None:
    with pytest.raises(ValidationError, match="search_limit"):
        EdgeMemoryService.InputParams(search_limit=10)  # type: ignore[call-arg]  # that is what is tested


async def test_messages_are_the_agent_s(memory: EdgeMemory, service: EdgeMemoryService, model: ScriptedLLM) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("hello")
    assert service.agent_id == "receptionist"
    assert {it.agent_id for it in service.session.snapshot.messages[1:]} == {"receptionist"}


def test_without_the_extra_it_is_named() -> None:
    program = "import sys; sys.modules['pipecat'] = None; import edgememory.integrations.pipecat"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert "pip install 'edgememory[pipecat]'" in done.stderr.splitlines()[-1]
