"""Holds a run to the promises: pure, from the report to its judgements."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from edgememory.lab.report import EchoWaits, Judgement, Phase, Report, Service, Waits

BARE_GETS = 1.5
"""How many times the p99 of a plain GET of the Worker a session may take over a link to it, beside the link."""
OWN_ERROR = EchoWaits(p50=1.0, p99=3.0)
WARM = 0.5
FIRST_TURN = 1000.0
"""Until an agent first answers what a caller says: its greeting alone takes longer."""


class _Bound(Struct, frozen=True):
    """The most that a scenario may add, at its p99, to the p99 of the round trips that it cannot do without."""

    slack: float
    beyond: str
    above: str | None = None
    """Another scenario whose p99 is allowed on top."""


_BOUNDS: Mapping[str, _Bound] = {
    "edge": _Bound(5.0, "the edge's echo"),
    "cold": _Bound(15.0, "Geneva's echo"),
    "replica": _Bound(10.0, "the replica's echo"),
    "replica_unknown_user": _Bound(15.0, "the replica's echo + Geneva's"),
    "kv_cold_location": _Bound(20.0, "the edge's echo + an object's"),
    "stale": _Bound(20.0, "edge", above="edge"),
    "edge_down": _Bound(50.0, "cold", above="cold"),
    "edge_down_open": _Bound(5.0, "cold", above="cold"),
    "leave_up": _Bound(10.0, "the edge's echo"),
    "leave_down": _Bound(10.0, "the edge's echo"),
}
_REQUESTS: Mapping[tuple[Phase, Service], int] = {
    ("open", "edge"): 1,
    ("leave", "edge"): 1,
    ("leave", "outbox"): 1,
    ("background", "geneva"): 2,
}
_ONE_IN_TWENTY = 0.05
_FEW = 100
"""Of fewer calls, the p99 is the slowest: whatever else the machine did meanwhile. The p95 is judged then."""
_SERVICES: Mapping[Service, str] = {"edge": "the edge", "outbox": "the outbox", "geneva": "Geneva"}


def judge(report: Report) -> Iterator[Judgement]:
    """Yield a judgement on each promise that the run can speak of.

    Waits are judged by what they add to the echo over the same link in the same run, over all regions together:
    machines differ, and so do distances.
    """
    for scenario, bound in _BOUNDS.items():
        if scenario in report.added_ms and (bound.above is None or bound.above in report.added_ms):
            yield _within(report, scenario, bound)
    yield from _kv_warm(report)
    if "warm" in report.added_ms:
        warm = report.added_ms["warm"]
        yield Judgement(f"warm under {WARM:g} ms", f"{_high(warm):.2f} ms{_caveat(warm)}", _high(warm) < WARM)
    yield from _newest(report)
    if report.requests:
        for (phase, service), most in _REQUESTS.items():
            made = report.requests.get(phase, {}).get(service, 0.0)
            promise = f"a call's requests to {_SERVICES[service]}, {phase}: {most}"
            yield Judgement(promise, f"{made:.2f}", made <= most + _ONE_IN_TWENTY)
    yield _flight(report)
    yield _own_error(report)
    yield Judgement(
        "nothing that was said is lost", f"{report.delivered:,} delivered, {report.lost} lost", not report.lost
    )


def _within(report: Report, scenario: str, bound: _Bound) -> Judgement:
    added = report.added_ms[scenario]
    above = _high(added) - (0.0 if bound.above is None else _high(report.added_ms[bound.above]))
    name = scenario.replace("leave_", "leaving, Geneva ")
    return Judgement(
        f"{name} at most {bound.beyond} + {bound.slack:g} ms",
        f"{bound.beyond} {above:+.1f} ms{_caveat(added)}".replace("-", "\N{MINUS SIGN}"),
        above <= bound.slack,
    )


def _kv_warm(report: Report) -> Iterator[Judgement]:
    added, bare = report.added_ms.get("kv_warm_location"), report.bare_get_ms
    if added is not None and bare is not None:
        most = BARE_GETS * bare.p99
        yield Judgement(
            f"kv_warm_location at most the edge's echo + {BARE_GETS:g} bare GETs",
            f"the edge's echo {_high(added):+.1f} ms, of {most:.1f}{_caveat(added)}".replace("-", "\N{MINUS SIGN}"),
            _high(added) <= most,
        )


def _high(waited: Waits) -> float:
    return waited.p95 if waited.n < _FEW else waited.p99


def _caveat(waited: Waits) -> str:
    return f" (p95 of {waited.n})" if waited.n < _FEW else ""


def _newest(report: Report) -> Iterator[Judgement]:
    slowest = max((waited.p99 for by in report.newest_ms.values() for waited in by.values()), default=None)
    if slowest is not None:
        promise = f"travel: the newest memory before the first turn, {FIRST_TURN:,.0f} ms"
        yield Judgement(promise, f"{slowest:.0f} ms", slowest < FIRST_TURN)


def _flight(report: Report) -> Judgement:
    flight = report.single_flight
    promise = f"{flight.readers:,} readers of one absent user are one read"
    return Judgement(promise, f"{flight.origin_reads}", flight.origin_reads == 1)


def _own_error(report: Report) -> Judgement:
    error, most = report.own_error_ms, OWN_ERROR
    promise = f"the lab's own error over 150 ms: {most.p50:g} ms p50, {most.p99:g} ms p99"
    return Judgement(
        promise, f"{error.p50:.2f} p50, {error.p99:.2f} p99", error.p50 <= most.p50 and error.p99 <= most.p99
    )
