"""Two conversations in text, one after the other, through the real pipeline with the scripted model. No keys."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator

from pipecat.frames.frames import (
    EndFrame,
    LLMRunFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_response_universal import AssistantTurnStoppedMessage, LLMUserAggregatorParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.utils.time import time_now_iso8601
from pipecat.workers.runner import WorkerRunner

from edgememory import EdgeMemory
from voicebot.conversation import Conversation, conversation
from voicebot.providers import chosen
from voicebot.told import found, shown

CALLER = "caller-1"
FIRST = ("Hello. My name is Anna and I live in Lisbon.", "I like the cello.", "Goodbye.")
SECOND = ("What do you remember about me?", "Goodbye.")


async def demo() -> bool:
    """Hold both conversations, and return whether the second was greeted with what the first said."""
    with tempfile.TemporaryDirectory() as folder:
        print("Postgres is being started in a temporary folder. That takes some seconds.")
        async with EdgeMemory.embedded(folder) as memory:
            print("\nThe first call")
            await talk(memory, FIRST)
            print("\nThe second call")
            greeting = await talk(memory, SECOND)
    remembered = all(word in greeting for word in ("Anna", "Lisbon", "cello"))
    print(f"\nremembered: {'yes' if remembered else 'no'}")
    return remembered


async def talk(memory: EdgeMemory, lines: tuple[str, ...]) -> str:
    """Say *lines*, print what is said, and return the greeting."""
    async with text_call(memory) as call:
        greeting = await call.answer_to(None)
        for line in lines:
            await call.answer_to(line)
    return greeting


class TextCall:
    """A caller who writes."""

    def __init__(self, talking: Conversation) -> None:
        self._talking = talking
        self._answers = asyncio.Queue[str]()
        talking.assistant.add_event_handler("on_assistant_turn_stopped", self._answered)

    async def _answered(self, _: object, message: AssistantTurnStoppedMessage) -> None:
        # A turn that only called tools is empty; another follows it.
        if message.content:
            self._answers.put_nowait(message.content)

    async def answer_to(self, line: str | None) -> str:
        """Say *line*, or pick up the phone, and return what the bot says."""
        if line is None:
            await self._talking.worker.queue_frame(LLMRunFrame())
        else:
            print(f"  you: {line}")
            heard = TranscriptionFrame(line, CALLER, time_now_iso8601(), finalized=True)
            await self._talking.worker.queue_frames([UserStartedSpeakingFrame(), heard, UserStoppedSpeakingFrame()])
        answer = await asyncio.wait_for(self._answers.get(), 30)
        print(f"  bot: {answer}")
        print(f"       (waited {shown(self._talking.memory.turns.waited)} for memory)")
        return answer


@contextlib.asynccontextmanager
async def text_call(memory: EdgeMemory) -> AsyncGenerator[TextCall]:
    """Yield a call; at its end everything that was said is durable."""
    talking = conversation(
        memory,
        CALLER,
        providers=chosen({}),
        environment={},
        turns=LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies()),
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(talking.worker)
    running = asyncio.create_task(runner.run())
    call = TextCall(talking)
    try:
        yield call
    finally:
        print(f"  {found(talking.memory.session.opened_with, talking.memory.opened_in)}")
        await talking.worker.queue_frame(EndFrame())
        await running
