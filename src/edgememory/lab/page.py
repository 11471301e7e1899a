"""The report as a page that needs nothing else, and a picture of it for other pages."""

import math
from collections.abc import Iterator, Mapping
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from edgememory.lab import drawing
from edgememory.lab.conclusions import BUDGET, CLAIMED_LINK, COLD, COLD_MOST, HOT, HOT_SHARE
from edgememory.lab.drawing import Bar, LinearScale, LogScale, StackedBar, Tick, WaitBar
from edgememory.lab.report import Phase, Region, Report, Service, Waits
from edgememory.lab.words import WORDS
from edgememory.lab.worldmap import world_map

_CLAIMS: Mapping[str, float] = {"cold": COLD} | dict.fromkeys(("edge", "warm", "stale", "callback", "replica"), HOT)
_WITHOUT = ("direct_new_connection", "direct_pooled", "cache_aside_1h")
"""Scenarios of agents who do without edgememory."""
_GLANCE: Mapping[str, str] = {"direct_pooled": "database", "replica": "replica", "edge": "cache", "warm": "warmed"}
"""What the picture shows, in as few letters as fit on a phone."""
_PHASES: Mapping[Phase, str] = {
    "open": "while the caller waits",
    "leave": "while the call is left",
    "background": "in the background",
}


Compared = Literal["≤", "≈", ">"]


class Panel(Struct, frozen=True):
    """A region at a glance."""

    region: Region
    bars: tuple[StackedBar, ...]


class Row(Struct, frozen=True):
    """A scenario in the table of a region, in milliseconds."""

    scenario: str
    memory: Waits
    total: Waits
    claim: float | None
    compared: Compared
    """How `from_claimed_link` compares with the claim."""
    from_claimed_link: float
    left: float
    """Of a response in `BUDGET`."""


class Besides(Struct, frozen=True):
    """What else was measured in a region."""

    name: str
    words: str
    p50: float
    p99: float


class RegionView(Struct, frozen=True):
    """What is shown of a region."""

    region: Region
    floors: tuple[Tick, ...]
    bars: tuple[WaitBar, ...]
    rows: tuple[Row, ...]
    besides: tuple[Besides, ...]

    @property
    def calls(self) -> str:
        counts = sorted({row.memory.n for row in self.rows})
        return " to ".join(f"{count:,}" for count in (counts if len(counts) < 2 else (counts[0], counts[-1])))


def render(report: Report) -> str:
    """Return the page."""
    waits = [waited for by in report.open_ms.values() for waited in by.values()]
    echoes = [echo.p50 for link, echo in report.echo_ms.items() if not link.endswith("-user")]
    scale = drawing.log_scale([*echoes, *(each for waited in waits for each in (waited.p50, waited.p99))])
    return _drawn(
        "page.html",
        report,
        atlas=world_map(report),
        calls=sum(waited.n for waited in waits),
        scenarios=tuple(dict.fromkeys(name for by in report.open_ms.values() for name in by)),
        kept=sum(judgement.kept for judgement in report.judgements),
        wait_ticks=drawing.ticks(scale),
        regions=[_region(report, name, scale) for name in report.regions],
        timelines=() if report.timeline is None else drawing.timeline_views(report.timeline),
        phases=_PHASES,
        asked=_asked(report),
        month=[(policy, share, Bar(0.0, share)) for policy, share in report.month.hot.items()],
        words=WORDS,
        without=_WITHOUT,
        budget=BUDGET,
        claimed_link=CLAIMED_LINK,
        hot_share=HOT_SHARE,
    )


def picture(report: Report) -> str:
    """Return an SVG of what callers waited for in each region, to be shown elsewhere."""
    return _drawn("picture.svg", report)


def _drawn(template: str, report: Report, **more: object) -> str:
    scale = drawing.linear_scale(
        by[scenario].p50 for by in report.total_ms.values() for scenario in _GLANCE if scenario in by
    )
    return _ENVIRONMENT.get_template(template).render(
        report=report,
        label={place: spot.label for place, spot in report.places.items()},
        panels=[panel for name in report.regions for panel in _panels(report, name, scale)],
        glance_ticks=drawing.ticks(scale),
        **more,
    )


def _panels(report: Report, name: str, scale: LinearScale) -> Iterator[Panel]:
    memory, total = report.open_ms[name], report.total_ms[name]
    bars = [
        drawing.stacked_bar(scale, words, memory[scenario], total[scenario])
        for scenario, words in _GLANCE.items()
        if scenario in memory
    ]
    if bars:
        yield Panel(report.regions[name], tuple(bars))


def _region(report: Report, name: str, scale: LogScale) -> RegionView:
    memory, total = report.open_ms[name], report.total_ms[name]
    return RegionView(
        region=report.regions[name],
        floors=tuple(_floors(report, name, scale)),
        bars=tuple(drawing.wait_bar(scale, scenario, waited) for scenario, waited in memory.items()),
        rows=tuple(
            Row(
                scenario=scenario,
                memory=waited,
                total=total[scenario],
                claim=_CLAIMS.get(scenario),
                compared=_compared(scenario, CLAIMED_LINK + waited.p50),
                from_claimed_link=CLAIMED_LINK + waited.p50,
                left=BUDGET - total[scenario].p50,
            )
            for scenario, waited in memory.items()
        ),
        besides=tuple(_besides(report, name)),
    )


def _compared(scenario: str, total: float) -> Compared:
    if total <= _CLAIMS.get(scenario, math.inf):
        return "≤"
    return "≈" if scenario == "cold" and total <= COLD_MOST else ">"


def _floors(report: Report, name: str, scale: LogScale) -> Iterator[Tick]:
    for far, words in _far(report).items():
        echo = report.echo_ms.get(f"{name}-{far}")
        if echo is not None and far != "user":
            yield drawing.tick(scale, echo.p50, f"echo, {words}: {echo.p50:,.1f}")


def _besides(report: Report, name: str) -> Iterator[Besides]:
    for scenario, waited in report.newest_ms.get(name, {}).items():
        yield Besides(scenario, "until the newest memory was there", waited.p50, waited.p99)
    for state, waited in report.leave_ms.get(name, {}).items():
        yield Besides(f"leave_{state}", WORDS[f"leave_{state}"], waited.p50, waited.p99)
    for far, words in _far(report).items():
        echo = report.echo_ms.get(f"{name}-{far}")
        if echo is not None:
            yield Besides(f"echo_{far}", f"a bare TCP echo, {words}", echo.p50, echo.p99)


def _far(report: Report) -> Mapping[str, str]:
    """The links of an agent, by what is at their far end."""
    home = report.places[report.origin].label
    return {"user": "the caller", "edge": "the region's cache", "replica": "the replica", "geneva": home}


def _asked(report: Report) -> Mapping[Service, list[float]]:
    """How often a call asks a service, phase by phase."""
    services: dict[Service, None] = dict.fromkeys(service for by in report.requests.values() for service in by)
    by_phase = [report.requests[phase] for phase in _PHASES if phase in report.requests]
    return {service: [by.get(service, 0.0) for by in by_phase] for service in services}


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 1 else f"{value:,.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


_ENVIRONMENT = Environment(
    loader=PackageLoader("edgememory.lab"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"ms": _milliseconds, "pct": _percent}
