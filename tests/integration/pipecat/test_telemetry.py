"""The time that memory took: in Pipecat's metrics, and in OpenTelemetry's."""

from collections.abc import Iterator

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pipecat.frames.frames import LLMContextFrame, MetricsFrame
from pipecat.metrics.metrics import MetricsData, ProcessingMetricsData, TTFBMetricsData
from pipecat.pipeline.worker import PipelineParams
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.tests.utils import run_test

from edgememory.integrations.pipecat import EdgeMemoryService
from tests.integration.pipecat.calls import Call, running
from tests.integration.pipecat.scripted import ScriptedLLM

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def reader() -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))  # once a process
    return reader


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(TracerProvider())  # once a process
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


def measured(call: Call, service: EdgeMemoryService) -> list[MetricsData]:
    frames = [frame for frame in call.reached.frames if isinstance(frame, MetricsFrame)]
    return [it for frame in frames for it in frame.data if it.processor == service.name]


async def test_pipecat_s_metrics_hold_what_opening_took_and_what_each_turn_waited(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    waited: list[float] = []
    async with running(Call(service, model)) as call:
        for said in ("hello", "my dog"):
            await call.turn(said)
            waited.append(service.turns.waited)
    assert service.can_generate_metrics()
    # First the zeros with which Pipecat announces who measures.
    opening, *turns = [it for it in measured(call, service) if getattr(it, "value", 0) > 0]
    assert isinstance(opening, TTFBMetricsData)
    assert opening.value == service.opened_in > 0
    assert [it.value for it in turns if isinstance(it, ProcessingMetricsData)] == waited


async def test_who_asks_for_no_metrics_gets_none(service: EdgeMemoryService) -> None:
    context = LLMContext([{"role": "user", "content": "hello"}])
    params = PipelineParams(enable_metrics=False)
    down, _ = await run_test(service, frames_to_send=[LLMContextFrame(context=context)], pipeline_params=params)
    assert [type(frame) for frame in down] == [LLMContextFrame]


async def test_each_turn_s_span_stands_in_the_trace_of_pipecat_s_turn(
    service: EdgeMemoryService, model: ScriptedLLM, spans: InMemorySpanExporter
) -> None:
    async with running(Call(service, model, tracing=True)) as call:
        await call.turn("hello")
        await call.turn("my dog")
    finished = {span.context.span_id: span for span in spans.get_finished_spans() if span.context}
    ours = [span for span in finished.values() if span.name == "edgememory.turn"]
    assert len(ours) == 2
    for span in ours:
        assert span.parent is not None
        assert finished[span.parent.span_id].name in ("turn", "conversation")
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.end_time > span.start_time


async def test_what_turns_waited_is_a_histogram(
    service: EdgeMemoryService, model: ScriptedLLM, reader: InMemoryMetricReader
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("hello")
    (point,) = [point for name, point in points(reader) if name == "edgememory.turn.waited"]
    assert isinstance(point, HistogramDataPoint)
    assert point.count >= 1
    assert point.max >= service.turns.waited


def points(reader: InMemoryMetricReader) -> Iterator[tuple[str, object]]:
    found = reader.get_metrics_data()
    for resource in found.resource_metrics if found else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    yield metric.name, point
