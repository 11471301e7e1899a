"""The scripted model as a Pipecat service: what a real one is in the pipeline, without a key."""

import re
import uuid

from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings

from voicebot.rules import answer

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


class ScriptedLLMService(LLMService):
    """Answers by `rules.answer`, word by word, and calls tools through the framework as a real model does."""

    def __init__(self) -> None:
        super().__init__(settings=_SETTINGS)

    def can_generate_metrics(self) -> bool:
        return True

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        try:
            await self._answer(frame.context)
        finally:
            await self.push_frame(LLMFullResponseEndFrame())

    async def _answer(self, context: LLMContext) -> None:
        await self.start_ttfb_metrics()
        said = answer([it for it in context.get_messages() if not isinstance(it, LLMSpecificMessage)])
        await self.stop_ttfb_metrics()
        if isinstance(said, str):
            for word in re.findall(r"\S+\s*", said):
                await self._push_llm_text(word)
            return
        await self.run_function_calls(
            [
                FunctionCallFromLLM(
                    context=context, tool_call_id=uuid.uuid4().hex, function_name=call.tool, arguments=call.arguments
                )
                for call in said
            ]
        )
