"""A model that answers by a rule, and keeps what it was given."""

import asyncio
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipecat.frames.frames import Frame, LLMContextFrame, LLMFullResponseEndFrame, LLMFullResponseStartFrame
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage, standard_message_text
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallFromLLM, LLMService
from pipecat.services.settings import LLMSettings

from edgememory.context import OPENING

# Pipecat warns of each setting that is left open.
_SETTINGS = LLMSettings(
    model="scripted",
    system_instruction=None,
    temperature=None,
    max_tokens=None,
    top_p=None,
    top_k=None,
    frequency_penalty=None,
    presence_penalty=None,
    seed=None,
    filter_incomplete_user_turns=False,
    user_turn_completion_config=None,
)


@dataclass(frozen=True)
class Use:
    """The answer that uses a tool."""

    tool: str
    arguments: Mapping[str, object] = field(default_factory=dict)


Rule = Callable[[list[LLMContextMessage]], str | Use]


def echo(messages: list[LLMContextMessage]) -> str:
    return f"You said: {text_of(messages[-1])}"


class ScriptedLLM(LLMService):
    def __init__(self, rule: Rule = echo) -> None:
        super().__init__(settings=_SETTINGS)
        self.rule = rule
        self.given: list[list[LLMContextMessage]] = []
        """What each request held."""
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        """The last message of each request."""
        self.stays_silent: asyncio.Event | None = None
        """Set, it says one word, and the next when this is set."""
        self.spoke = asyncio.Event()

    @property
    def blocks(self) -> list[list[str]]:
        """Of each request, the texts of its blocks."""
        return [blocks_in(messages) for messages in self.given]

    async def run_inference(self, context: LLMContext, *_: object, **__: object) -> str:
        return "They spoke of sinks."

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        messages = copy.deepcopy(frame.context.get_messages())
        self.given.append(messages)
        self.asked.put_nowait(text_of(messages[-1]))
        await self.push_frame(LLMFullResponseStartFrame())
        try:
            await self._answer(frame.context, self.rule(messages))
        finally:
            await self.push_frame(LLMFullResponseEndFrame())

    async def _answer(self, context: LLMContext, answer: str | Use) -> None:
        if isinstance(answer, Use):
            call_id = f"call-{len(self.given)}"
            await self.run_function_calls(
                [
                    FunctionCallFromLLM(
                        context=context, tool_call_id=call_id, function_name=answer.tool, arguments=answer.arguments
                    )
                ]
            )
            return
        for word in answer.split(" "):
            await self._push_llm_text(f"{word} ")
            if self.stays_silent is not None:
                self.spoke.set()
                await self.stays_silent.wait()


def text_of(message: LLMContextMessage) -> str:
    return standard_message_text(message)


def blocks_in(messages: list[LLMContextMessage]) -> list[str]:
    return [text_of(message) for message in messages if text_of(message).startswith(OPENING)]
