"""What the lab has measured, and how that compares with what was promised. Milliseconds throughout."""

import math
from collections.abc import Iterator, Sequence

from msgspec import Struct

SLACK_EDGE = 5.0
SLACK_COLD = 15.0
SLACK_LEAVING = 10.0
SLACK_OPEN_BREAKER = 5.0
WARM = 0.5


class Waits(Struct, frozen=True):
    """Percentiles of how long callers waited, by nearest rank: the least of the *n* waits that p % do not exceed."""

    p50: float
    p95: float
    p99: float
    n: int


class EchoWaits(Struct, frozen=True):
    """The same of a bare TCP echo over a link."""

    p50: float
    p99: float


class SingleFlight(Struct, frozen=True):
    """How often the origin was read when all *readers* opened one absent user at once."""

    readers: int
    origin_reads: int


class Report(Struct, frozen=True, kw_only=True):
    """`build/lab/report.json`."""

    rtt_ms: dict[str, float]
    """By region: how far the origin is."""
    echo_ms: dict[str, EchoWaits]
    """By link."""
    open_ms: dict[str, dict[str, Waits]]
    """By region and scenario: from `memory.session(user)` to a context block in hand."""
    leave_ms: dict[str, dict[str, Waits]]
    """By region, with the origin up and down."""
    delivered: int
    """How many of the messages that were said stand in the origin, once each."""
    lost: int
    single_flight: SingleFlight


class Run(Struct, frozen=True, kw_only=True):
    """What a run of the lab gives to those who read it."""

    report: Report
    disk: EchoWaits
    """How long one write takes until it is on the disk of the outbox: what leaving cannot do without."""
    failures: list[str]


class Judgement(Struct, frozen=True):
    """One promise, as one line."""

    promise: str
    measured: str
    kept: bool


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the nearest rank, in milliseconds."""
    return round(sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)] * 1000, 3)


def waits(seconds: Sequence[float]) -> Waits:
    p50, p95, p99 = (percentile(seconds, share) for share in (0.50, 0.95, 0.99))
    return Waits(p50, p95, p99, len(seconds))


def echo_waits(seconds: Sequence[float]) -> EchoWaits:
    return EchoWaits(p50=percentile(seconds, 0.50), p99=percentile(seconds, 0.99))


def judge(
    report: Report, *, region: str, geneva: str, edge: str, edge_timeout: float, stale_wait: float
) -> Iterator[Judgement]:
    """Hold the run's p99s to the promises: beside the echo of the same run, because machines differ."""
    p99 = {scenario: waited.p99 for scenario, waited in report.open_ms[region].items()}
    near, far = report.echo_ms[edge].p99, report.echo_ms[geneva].p99
    yield _within("edge", p99["edge"], near, "the edge's echo", SLACK_EDGE)
    yield _within("cold", p99["cold"], far, "Geneva's echo", SLACK_COLD)
    yield _within("stale", p99["stale"], p99["edge"], "edge", stale_wait)
    yield _within("edge_down", p99["edge_down"], p99["cold"], "cold", edge_timeout)
    yield _within("edge_down_open", p99["edge_down_open"], p99["cold"], "cold", SLACK_OPEN_BREAKER)
    for state, waited in report.leave_ms[region].items():
        yield _within(f"leaving, Geneva {state}", waited.p99, near, "the edge's echo", SLACK_LEAVING)
    yield Judgement(f"warm under {WARM:g} ms", f"{p99['warm']:.2f} ms", p99["warm"] < WARM)
    flight = report.single_flight
    yield Judgement(
        f"{flight.readers} readers of one absent user are one read", f"{flight.origin_reads}", flight.origin_reads == 1
    )
    yield Judgement(
        "nothing that was said is lost", f"{report.delivered} delivered, {report.lost} lost", not report.lost
    )


def _within(name: str, p99: float, yardstick: float, called: str, slack: float) -> Judgement:
    return Judgement(
        f"{name} at most {called} + {slack:g} ms",
        f"{p99:.1f} ms = {called} {p99 - yardstick:+.1f} ms",
        p99 <= yardstick + slack,
    )
