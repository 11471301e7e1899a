"""EdgeMemoryService: memory in a Pipecat pipeline."""

import time
from contextlib import AsyncExitStack

from pipecat.frames.frames import (
    Frame,
    LLMContextAssistantTurnFrame,
    LLMContextFrame,
    LLMContextUserTurnFrame,
    MetricsFrame,
    StartFrame,
)
from pipecat.metrics.metrics import MetricsData, ProcessingMetricsData, TTFBMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pydantic import BaseModel, ConfigDict, Field

from edgememory.client import EdgeMemory
from edgememory.integrations.pipecat.messages import turn_of, with_block
from edgememory.integrations.pipecat.recorder import Recorder
from edgememory.integrations.turns import TurnMemory
from edgememory.recall.language import Language
from edgememory.session import Session
from edgememory.telemetry import within


class EdgeMemoryService(FrameProcessor):
    """Stands between the user aggregator and the model: tells it what is known, and keeps what is said.

    The session lasts as long as the pipeline: it opens while the pipeline is set up, beside the other services, and is
    left when the pipeline is cleaned up, when the last words, even half a sentence, are in the context. What memory
    says is one message of the shared context, so that the steps of a tool, which pass by this processor, have it too.
    """

    class InputParams(BaseModel):
        """What a turn is told, and how long it may wait for that."""

        model_config = ConfigDict(extra="forbid")

        max_tokens: int = Field(default=500, ge=0, description="How long the block may be.")
        recall_limit: int = Field(default=5, ge=1, le=1000, description="How many matches a turn is given at most.")
        recall_timeout: float = Field(default=0.15, ge=0, description="Seconds that a turn may wait for recall.")
        deep: bool = Field(default=False, description="Whether each turn also searches the whole history.")

    def __init__(
        self,
        memory: EdgeMemory,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        language: Language | None = None,
        extract: bool = True,
        params: InputParams | None = None,
    ) -> None:
        """Take an open *memory*: it outlives the pipeline, and is shared by all calls of the process.

        Args:
            memory: open before the pipeline runs.
            user_id: who calls; `None` until ``await service.session.identify(user_id)``.
            agent_id: kept with each message.
            session_id: of the call, if it has an id; else made here.
            language: as in `EdgeMemory.session`.
            extract: as in `EdgeMemory.session`.
            params: what a turn is told.

        Raises:
            InvalidInputError: an id is empty, too long, or holds what no store can keep.
        """
        super().__init__()
        params = params or EdgeMemoryService.InputParams()
        self.agent_id = agent_id
        self.session: Session = memory.session(
            user_id, session_id=session_id, agent_id=agent_id, language=language, extract=extract
        )
        self.turns = TurnMemory(self.session, **params.model_dump())
        self.opened_in = 0.0
        """Seconds that opening took."""
        self._memory = memory
        self._recorder = Recorder(self.session)
        self._lifetime = AsyncExitStack()

    @property
    def user_id(self) -> str | None:
        """Who calls; `None` until the caller is identified."""
        return self.session.user_id

    def can_generate_metrics(self) -> bool:
        """Say that there are `MetricsFrame`s: how long opening took, and what each turn waited."""
        return True

    async def get_memories(self) -> list[dict[str, str]]:
        """Return the user's facts, each with its text as `memory`; best first. Works before the pipeline runs too.

        A bot that says something of its own needs none of this: the model has them before it, in the greeting too.
        """
        if self._recorder.is_open:
            facts = self.session.snapshot.facts
        else:
            facts = (await self._memory.get_profile(self.user_id)).facts if self.user_id is not None else ()
        return [{"id": fact.key, "memory": fact.text} for fact in facts]

    async def prefetch(self, said: str) -> None:
        """Recall for what the caller seems to say."""
        if self._recorder.is_open:
            await self.turns.prefetch(said)

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as Pipecat's own overrides it
        await super().setup(setup)
        # Before anything is awaited: from here on somebody may already speak.
        self._recorder.follow(setup.pipeline_worker.pipeline)
        began = time.perf_counter()
        await self._lifetime.enter_async_context(self.session)
        self.opened_in = time.perf_counter() - began
        self._recorder.is_open = True

    async def cleanup(self) -> None:
        try:
            await super().cleanup()  # type: ignore[no-untyped-call]  # Pipecat leaves it untyped
        finally:
            self._recorder.look()
            await self._lifetime.aclose()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            await self._tell(frame)
        elif isinstance(frame, (LLMContextUserTurnFrame, LLMContextAssistantTurnFrame)):
            self._recorder.look()
        elif direction is FrameDirection.DOWNSTREAM:
            self._recorder.cut_begins(frame)
        await self.push_frame(frame, direction)
        if isinstance(frame, StartFrame):
            await self._report(TTFBMetricsData(processor=self.name, value=self.opened_in))

    async def _tell(self, frame: LLMContextFrame) -> None:
        if not self._recorder.is_open:
            return
        context = frame.context
        if not frame.speculation:
            self._recorder.look(context)
        turn_id, said = turn_of(context.get_messages())
        tracing = self.processor_setup.tracing_context
        with within(tracing.get_turn_context() if tracing else None):
            block = await self.turns.block(turn_id, said)
        # An interruption cancels whatever is awaited: what was read before is read again, nothing is half changed.
        context.transform_messages(lambda messages: with_block(messages, block))
        await self._report(ProcessingMetricsData(processor=self.name, value=self.turns.waited))

    async def _report(self, measured: MetricsData) -> None:
        if self.metrics_enabled:
            await self.push_frame(MetricsFrame(data=[measured]))
