"""What a Pipecat bot waits for memory, in the lab's world: callers in San Francisco, a database in Geneva.

`python -m benchmarks.pipecat` plays calls through real pipelines, and fails where a target is missed.
"""

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InterimTranscriptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMMessagesAppendFrame,
    LLMRunFrame,
    LLMTextFrame,
    ProposedUserStartedSpeakingFrame,
    ProposedUserStoppedSpeakingFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.workers.runner import WorkerRunner
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.report import WIDTH
from edgememory.integrations.pipecat import EdgeMemoryPrefetcher, EdgeMemoryService
from edgememory.lab.geography import read_world
from edgememory.lab.people import Person, people
from edgememory.lab.report import percentile
from edgememory.lab.running import running_world
from edgememory.lab.scenarios.near import SOME_MINUTES, fill_edge
from edgememory.lab.site import Agent

CALLS = 200
FROM = "san_francisco"
SAID = (
    "Hello, I called last week about the yearly appointment.",
    "Does Friday at ten still suit you?",
    "Somebody should pick me up at the station, please.",
    "Will the invoice come by post, as always?",
    "No hazelnuts in the cake, you know that.",
    "Which train would that be, then?",
)
WHEN = "2026-03-02T10:00:00Z"


@dataclass(slots=True)
class Waits:
    """In seconds."""

    first: list[float] = field(default_factory=list[float])
    from_snapshot: list[float] = field(default_factory=list[float])
    prefetched: list[float] = field(default_factory=list[float])


class Model(FrameProcessor):
    """Answers each request with a word, and says when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: asyncio.Queue[LLMContext] = asyncio.Queue()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        self.asked.put_nowait(frame.context)
        for answer in (LLMFullResponseStartFrame(), LLMTextFrame("Noted."), LLMFullResponseEndFrame()):
            await self.push_frame(answer)


class Call:
    """One call, in text. What the service adds is timed from when it takes a context to when it hands it on."""

    def __init__(self, agent: Agent, person: Person) -> None:
        self.service = EdgeMemoryService(agent.memory, user_id=person.user_id)
        self.added = 0.0
        self._took = 0.0
        self._model = Model()
        turns = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
        user, assistant = LLMContextAggregatorPair(LLMContext(), user_params=turns)
        steps = [EdgeMemoryPrefetcher(self.service), user, self.service, self._model, assistant]
        self.worker = PipelineWorker(Pipeline(steps), enable_rtvi=False, idle_timeout_secs=None)
        self.service.add_event_handler("on_before_process_frame", self._takes)
        self.service.add_event_handler("on_before_push_frame", self._hands_on)

    async def asks(self, *frames: Frame) -> LLMContext:
        """Queue *frames*, and return what the model is asked."""
        await self.worker.queue_frames(frames)
        context = await self._model.asked.get()
        await self.worker.flush_pipeline()
        return context

    def _takes(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMContextFrame):
            self._took = perf_counter()

    def _hands_on(self, _: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, LLMContextFrame):
            self.added = perf_counter() - self._took


@asynccontextmanager
async def running(call: Call) -> AsyncIterator[None]:
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(call.worker)
    run = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        await call.worker.cancel()
        await run


async def play(agent: Agent, person: Person, waits: Waits) -> None:
    """Greet a known caller, then hear them: every other time as they speak."""
    call = Call(agent, person)
    async with running(call):
        greeting = await call.asks(LLMRunFrame())
        assert person.mark in str(greeting.get_messages()), "the greeting lacks what is known"
        waits.first.append(call.service.opened_in + call.added)
        for typed, spoken in zip(SAID[::2], SAID[1::2], strict=True):
            await call.asks(LLMMessagesAppendFrame([{"role": "user", "content": typed}], run_llm=True))
            waits.from_snapshot.append(call.added)
            await call.worker.queue_frame(InterimTranscriptionFrame(spoken, person.user_id, WHEN))
            await call.worker.flush_pipeline()
            heard = TranscriptionFrame(spoken, person.user_id, WHEN, finalized=True)
            await call.asks(ProposedUserStartedSpeakingFrame(), heard, ProposedUserStoppedSpeakingFrame())
            waits.prefetched.append(call.added)


async def measured() -> Waits:
    """Play the calls one after another, in one process whose connections are open."""
    waits, world = Waits(), read_world()
    async with running_world(world, ()) as lab, lab.site(world.region(FROM)) as site, site.agent() as agent:
        persons = people("pipecat", CALLS + 1)
        await site.load(persons)
        await fill_edge(site, persons, age=SOME_MINUTES)
        await agent.connected()
        await play(agent, persons.pop(), Waits())  # what Python loads at its first use, a process pays for once
        gc.collect()
        gc.freeze()
        for person in persons:
            await play(agent, person, waits)
    return waits


def main() -> None:
    logger.remove()
    load_before = os.getloadavg()[0]
    waits = asyncio.run(measured())
    table = Table(
        title="What a bot waits for memory, ms", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    table.add_column("")
    for column in ("p50", "p99", "at most"):
        table.add_column(column, justify="right")
    missed = False
    for name, seconds, at_most in (
        ("the first request, of a known caller: opening and the block", waits.first, 30.0),
        ("added to a turn, recall from the snapshot", waits.from_snapshot, 2.0),
        ("added to a turn, after an interim transcript", waits.prefetched, 0.5),
    ):
        p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
        missed = missed or p99 >= at_most
        table.add_row(name, f"{p50:.2f}", f"[{'red' if p99 >= at_most else 'green'}]{p99:.2f}", f"{at_most:g}")
    console = Console(width=WIDTH)
    console.print(table)
    console.print(f"{CALLS} calls from {FROM}. Load before: {load_before:.2f}.", highlight=False)
    sys.exit(missed)


if __name__ == "__main__":
    main()
