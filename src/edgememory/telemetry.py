"""What happened, in plain integers: the one seam through which it is observed.

Counting is one integer addition, because an instrument's `add` costs more than a whole hot read. Whoever observes
reads the integers. A turn of a conversation is long enough to be told to OpenTelemetry as it happens.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.context import Context


@dataclass(slots=True, kw_only=True)
class Counters:
    """One process's counts since its `EdgeMemory` was made. Read them at any time; write them never."""

    reads_fresh: int = 0
    reads_stale: int = 0
    reads_degraded: int = 0
    refreshes: int = 0
    changes_made: int = 0
    changes_ignored: int = 0
    """Made in a session that had ended, because its user was deleted."""
    changes_overflowed: int = 0
    """Refused because the queue to the outbox was full."""
    changes_unidentified: int = 0
    """Dropped: made in a session whose caller was never identified."""
    changes_delivered: int = 0
    changes_dropped: int = 0
    """A deletion had overtaken them."""
    changes_rejected: int = 0
    """Refused by the origin: now dead letters."""
    delivery_failures: int = 0
    sessions_extracted: int = 0
    extractions_failed: int = 0
    """Tries; most of them are repeated."""
    background_errors: int = 0
    """Bugs: a background task raised what it should have handled. Logged with a traceback."""


@dataclass(slots=True, kw_only=True)
class TierCounters:
    """What became of the requests to one tier."""

    failures: int = 0
    skips: int = 0
    """Requests that an open circuit breaker spared."""
    corrupt: int = 0
    """Bytes that were no entry: treated as a miss."""
    offers_failed: int = 0


class Turns:
    """Tells OpenTelemetry what each turn waited for memory: as a histogram, and as a span of the trace it stands in.

    It is loaded when the first is made, and not with `edgememory`: it takes longer than all the rest.
    """

    def __init__(self) -> None:
        from opentelemetry import metrics, trace

        self._tracer = trace.get_tracer("edgememory")
        self._waited = metrics.get_meter("edgememory").create_histogram(
            "edgememory.turn.waited", unit="s", description="What a turn waited for memory."
        )

    def waited(self, seconds: float) -> None:
        ended = time.time_ns()
        self._waited.record(seconds)
        self._tracer.start_span("edgememory.turn", start_time=ended - round(seconds * 1e9)).end(ended)


@contextmanager
def within(trace: "Context | None") -> Generator[None]:
    """Let what is told to OpenTelemetry meanwhile stand in this trace; in the current one, if it is `None`."""
    if trace is None:
        yield
        return
    from opentelemetry import context

    token = context.attach(trace)
    try:
        yield
    finally:
        context.detach(token)
