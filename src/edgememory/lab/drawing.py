"""Where things stand in the figures of the page: pure geometry. Across, in shares of the width; down, in pixels.

Shares keep letters the same size on a phone and on a desk: a figure is stretched, not scaled.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from edgememory.lab.report import Operation, Phase, Service, Timeline, Waits, phase_of

Anchor = Literal["start", "middle", "end"]
_STEPS = (1, 2, 5, 10)
_MARGIN = 0.06
"""Nearer to a side than that, words begin or end there."""
_LATE = 0.6
"""What starts after that has its words to the left: there are not enough pixels to the right."""
_ZOOMED = 3
_LINE = 30
"""A line of words, and a bar beneath it."""
_LANE_HEAD = 20
_GAP = 4


class Scale(Protocol):
    """From milliseconds to a share of the width, from 0 to 1."""

    def at(self, value: float) -> float: ...

    def ticks(self) -> Sequence[float]: ...


class LinearScale(Struct, frozen=True):
    """From zero to *high*."""

    high: float

    def at(self, value: float) -> float:
        return min(1.0, max(0.0, value / self.high))

    def ticks(self) -> Sequence[float]:
        """Return three to six round numbers."""
        step = _round_up(self.high / 5)
        return [step * number for number in range(int(self.high / step * (1 + 1e-9)) + 1)]


class LogScale(Struct, frozen=True):
    """From *low* to *high*: each power of ten takes as much room as the next."""

    low: float
    high: float

    def at(self, value: float) -> float:
        if value <= self.low:
            return 0.0
        return min(1.0, math.log10(value / self.low) / math.log10(self.high / self.low))

    def ticks(self) -> Sequence[float]:
        first = math.ceil(math.log10(self.low) - 1e-9)
        last = math.floor(math.log10(self.high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


def log_scale(values: Iterable[float]) -> LogScale:
    """Return a scale from the power of ten below *values* to the 1, 2 or 5 above them."""
    known = [value for value in values if value > 0] or [1.0]
    low = 10.0 ** math.floor(math.log10(min(known)))
    return LogScale(low, max(_round_up(max(known)), 10 * low))


def linear_scale(values: Iterable[float]) -> LinearScale:
    return LinearScale(max(values, default=0.0) or 1.0)


class Tick(Struct, frozen=True):
    """A line across a figure, and what is written at it."""

    at: float
    words: str
    anchor: Anchor


class Bar(Struct, frozen=True):
    """From one share of the width to another."""

    start: float
    end: float

    @property
    def width(self) -> float:
        return self.end - self.start


class WaitBar(Struct, frozen=True):
    """Half of the callers waited for no longer than *median*, 99 % for no longer than *tail*."""

    name: str
    waited: Waits
    median: Bar
    tail: Bar


class StackedBar(Struct, frozen=True):
    """The way from the caller to the agent, and then the memory wait: medians, the second ends at the total."""

    name: str
    memory_ms: float
    total_ms: float
    way: Bar
    memory: Bar


class Request(Struct, frozen=True):
    """A bar of the timeline; its words begin where it begins, or end where it ends."""

    operation: Operation
    phase: Phase
    top: int
    bar: Bar
    words_at: float
    anchor: Anchor


class Lane(Struct, frozen=True):
    """The requests of one service, each on a line of its own."""

    service: Service
    top: int
    height: int
    requests: tuple[Request, ...]


class Lanes(Struct, frozen=True):
    """A timeline up to some moment."""

    ticks: tuple[Tick, ...]
    marks: tuple[Tick, ...]
    lanes: tuple[Lane, ...]
    height: int


def ticks(scale: Scale) -> tuple[Tick, ...]:
    return tuple(tick(scale, value, f"{value:,g}") for value in scale.ticks())


def tick(scale: Scale, value: float, words: str) -> Tick:
    at = scale.at(value)
    anchor: Anchor = "start" if at < _MARGIN else "end" if at > 1 - _MARGIN else "middle"
    return Tick(at, words, anchor)


def wait_bar(scale: Scale, name: str, waited: Waits) -> WaitBar:
    median, tail = scale.at(waited.p50), scale.at(waited.p99)
    return WaitBar(name, waited, Bar(0.0, median), Bar(median, tail))


def stacked_bar(scale: Scale, name: str, memory: Waits, total: Waits) -> StackedBar:
    turn, end = scale.at(total.p50 - memory.p50), scale.at(total.p50)
    return StackedBar(name, memory.p50, total.p50, Bar(0.0, turn), Bar(turn, end))


def timeline_views(timeline: Timeline) -> tuple[Lanes, ...]:
    """Draw the call until it was left, and again with what was asked in the background, if that took far longer."""
    end = max([timeline.left, *(operation.ended for operation in timeline.operations)])
    whole = _lanes(timeline, LinearScale(end))
    return (_lanes(timeline, LinearScale(timeline.left * 1.1)), whole) if end > _ZOOMED * timeline.left else (whole,)


def _lanes(timeline: Timeline, scale: LinearScale) -> Lanes:
    shown = [operation for operation in timeline.operations if operation.started < scale.high]
    lanes: list[Lane] = []
    top = 0
    for service in dict.fromkeys(operation.service for operation in shown):
        lane = _lane(timeline, scale, top, [operation for operation in shown if operation.service == service])
        lanes.append(lane)
        top += lane.height + _GAP
    moments = {"open": timeline.opened, "hung up": timeline.leaving, "left": timeline.left}
    marks = tuple(_mark(scale, moment, name) for name, moment in moments.items())
    return Lanes(ticks(scale), marks, tuple(lanes), top)


def _lane(timeline: Timeline, scale: LinearScale, top: int, operations: Sequence[Operation]) -> Lane:
    requests = [
        _request(timeline, scale, top + _LANE_HEAD + _LINE * number, operation)
        for number, operation in enumerate(operations)
    ]
    return Lane(operations[0].service, top, _LANE_HEAD + _LINE * len(requests), tuple(requests))


def _mark(scale: LinearScale, moment: float, name: str) -> Tick:
    at = scale.at(moment)
    return Tick(at, f"{name}: {moment:,.1f} ms", "end" if at > _LATE else "start")


def _request(timeline: Timeline, scale: LinearScale, top: int, operation: Operation) -> Request:
    bar = Bar(scale.at(operation.started), scale.at(operation.ended))
    at, anchor = _words_at(bar)
    return Request(operation, phase_of(timeline, operation.started, operation.ended), top, bar, at, anchor)


def _words_at(bar: Bar) -> tuple[float, Anchor]:
    return (bar.end, "end") if bar.start > _LATE else (bar.start, "start")


def _round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * (1 - 1e-9))
