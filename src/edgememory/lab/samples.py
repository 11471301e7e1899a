"""What a run of the lab collects, in seconds, until it becomes a report."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgememory.lab.recorded import Request
from edgememory.lab.report import Waits, waits

ByScenario = dict[str, list[float]]


def _by_region() -> defaultdict[str, ByScenario]:
    return defaultdict(dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """One call, and all requests that were made for its user; times of `perf_counter`."""

    region: str
    asked: float
    opened: float
    leaving: float
    left: float
    requests: tuple[Request, ...]


@dataclass(slots=True)
class Samples:
    """Waits by region and scenario, echoes by link."""

    opened: defaultdict[str, ByScenario] = field(default_factory=_by_region)
    total: defaultdict[str, ByScenario] = field(default_factory=_by_region)
    left: defaultdict[str, ByScenario] = field(default_factory=_by_region)
    newest: defaultdict[str, ByScenario] = field(default_factory=_by_region)
    echoes: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    disk: list[float] = field(default_factory=list[float])
    bare_gets: list[float] = field(default_factory=list[float])
    """Of the Worker, without the library and without a link."""
    traced: list[Traced] = field(default_factory=list[Traced])
    failures: list[str] = field(default_factory=list[str])


def summed(samples: defaultdict[str, ByScenario]) -> dict[str, dict[str, Waits]]:
    """Make percentiles of all that was sampled."""
    return {
        region: {scenario: waits(seconds) for scenario, seconds in scenarios.items()}
        for region, scenarios in samples.items()
    }


def pooled(lists: Iterable[list[float]]) -> list[float]:
    return [seconds for each in lists for seconds in each]
