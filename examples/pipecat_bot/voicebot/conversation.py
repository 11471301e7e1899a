"""One conversation: the pipeline, the same for a call and for the demo, with memory in its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregator,
    LLMContextAggregatorPair,
    LLMUserAggregator,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor

from edgememory import EdgeMemory
from edgememory.integrations.pipecat import EdgeMemoryPrefetcher, EdgeMemoryService, memory_tools
from voicebot.providers import Providers, model

AGENT = "pipecat-bot"
INSTRUCTIONS = (
    "You are a friendly receptionist on the telephone. Answer in one or two short sentences, without lists or symbols: "
    "they are spoken. Greet the caller first: by name, and with something that you remember, if you know them; else "
    "ask for their name and where they live. Keep with `remember` what a friend would remember."
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What there is to hold on to, once it is put together."""

    worker: PipelineWorker
    memory: EdgeMemoryService
    user: LLMUserAggregator
    assistant: LLMAssistantAggregator


def conversation(
    memory: EdgeMemory,
    user_id: str | None,
    *,
    providers: Providers,
    environment: Mapping[str, str],
    turns: LLMUserAggregatorParams,
    ears: Sequence[FrameProcessor] = (),
    voice: Sequence[FrameProcessor] = (),
    idle_timeout: float | None = 300,
) -> Conversation:
    """Put a conversation together; text alone, if there are no *ears* and no *voice*."""
    # The model keeps its own facts, by the tool `remember`: nobody reads them out of the conversation once more.
    remembering = EdgeMemoryService(memory, user_id=user_id, agent_id=AGENT, extract=False)
    context = LLMContext([{"role": "system", "content": INSTRUCTIONS}], tools=[*memory_tools(remembering)])
    aggregators = LLMContextAggregatorPair(context, user_params=turns)
    user, assistant = aggregators.user(), aggregators.assistant()
    steps = [
        *ears,
        EdgeMemoryPrefetcher(remembering),
        user,
        remembering,
        model(providers, environment),
        *voice,
        assistant,
    ]
    worker = PipelineWorker(Pipeline(steps), params=PipelineParams(enable_metrics=True), idle_timeout_secs=idle_timeout)
    return Conversation(worker, remembering, user, assistant)
