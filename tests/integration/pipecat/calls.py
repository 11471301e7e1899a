"""A call through a real pipeline, in text."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pipecat.adapters.llm.schemas.direct_function import DirectFunction
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import (
    EagerTranscriptionFrame,
    Frame,
    InterimTranscriptionFrame,
    LLMContextAssistantTimestampFrame,
    LLMMessagesAppendFrame,
    LLMRunFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import NOT_GIVEN, LLMContext, LLMContextMessage
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregatorParams,
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies, UserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from edgememory.integrations.pipecat import EdgeMemoryPrefetcher, EdgeMemoryService
from tests.integration.pipecat.scripted import ScriptedLLM

WHEN = "2026-03-02T10:00:00Z"
PROMPT = "Be kind."
GUARD = 15.0
"""Seconds after which what never comes is not waited for: a pipeline that nobody ends would outlive its test."""


class Reached(FrameProcessor):
    """Stands where the loudspeaker would."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.answers: asyncio.Queue[None] = asyncio.Queue()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.frames.append(frame)
        if isinstance(frame, LLMContextAssistantTimestampFrame):
            self.answers.put_nowait(None)
        await self.push_frame(frame, direction)


class Call:
    run: asyncio.Task[None]

    def __init__(
        self,
        service: EdgeMemoryService,
        model: ScriptedLLM,
        *,
        messages: Sequence[LLMContextMessage] = (),
        tools: Sequence[FunctionSchema | DirectFunction] = (),
        strategies: UserTurnStrategies | None = None,
        tracing: bool = False,
        summarizes: bool = False,
    ) -> None:
        self.service = service
        self.model = model
        self.context = LLMContext(
            [{"role": "system", "content": PROMPT}, *messages], tools=list(tools) if tools else NOT_GIVEN
        )
        user, self.assistant = LLMContextAggregatorPair(
            self.context,
            user_params=LLMUserAggregatorParams(user_turn_strategies=strategies or ExternalUserTurnStrategies()),
            assistant_params=LLMAssistantAggregatorParams(enable_auto_context_summarization=summarizes),
        )
        self.reached = Reached()
        steps = [EdgeMemoryPrefetcher(service), user, service, model, self.assistant, self.reached]
        self.worker = PipelineWorker(
            Pipeline(steps),
            params=PipelineParams(enable_metrics=True),
            enable_rtvi=False,
            enable_tracing=tracing,
            idle_timeout_secs=None,
        )

    @property
    def recorded(self) -> list[tuple[str, str]]:
        """What was said in this call, as it is kept."""
        session = self.service.session
        return [(it.role, it.text) for it in session.snapshot.messages if it.session_id == session.session_id]

    async def queue(self, *frames: Frame) -> None:
        await self.worker.queue_frames(frames)

    async def hear(self, text: str, *, finally_so: bool = False) -> None:
        """Hear what may be changed yet, or not any more."""
        frame = TranscriptionFrame if finally_so else InterimTranscriptionFrame
        await self.queue(frame(text, "ana", WHEN))

    async def say(self, text: str) -> None:
        """Speak, as a service that hears turns would report it."""
        await self.queue(ProposedUserStartedSpeakingFrame())
        await self.queue(TranscriptionFrame(text, "ana", WHEN, finalized=True), ProposedUserStoppedSpeakingFrame())

    async def seem_to_say(self, text: str) -> None:
        """Speak, so that the service believes that the turn will end here."""
        await self.queue(ProposedUserStartedSpeakingFrame(), EagerTranscriptionFrame(text, "ana", WHEN))

    async def append(self, text: str, *, role: str = "user", run: bool = True) -> None:
        await self.queue(LLMMessagesAppendFrame([{"role": role, "content": text}], run_llm=run))

    async def pick_up(self) -> None:
        await self.queue(LLMRunFrame())

    async def show_out(self) -> None:
        """End the call when all has been said."""
        await self.worker.end()
        await self.run

    async def answered(self) -> None:
        await self.reached.answers.get()

    async def turn(self, text: str) -> None:
        await self.say(text)
        await self.answered()

    async def settled(self) -> None:
        """Wait until all that was queued has gone through the pipeline and back."""
        assert await self.worker.flush_pipeline()


@asynccontextmanager
async def running(call: Call) -> AsyncIterator[Call]:
    """Run it; in the end it hangs up, unless that was done already."""
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(call.worker)
    started = asyncio.Event()
    call.worker.add_event_handler("on_pipeline_started", lambda *_: started.set())
    call.run = asyncio.create_task(runner.run())
    try:
        await started.wait()
        async with asyncio.timeout(GUARD):
            yield call
    finally:
        if not call.run.done():
            await call.worker.cancel()
        await call.run
