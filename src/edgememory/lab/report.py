"""What a run of the lab has measured: `build/lab/report.json`. Milliseconds throughout."""

import math
from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

Service = Literal["memory", "edge", "outbox", "replica", "geneva"]
Phase = Literal["open", "leave", "background"]


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


class Spot(Struct, frozen=True):
    """A place on the map, in degrees."""

    label: str
    latitude: float
    longitude: float


class Region(Struct, frozen=True, kw_only=True):
    """Where a region's callers are and what serves them, by names of places; round trips are the world file's."""

    caller: str
    agent: str
    hosts: tuple[str, ...]
    """Who hosts agents there."""
    edge: str
    replica: str | None
    """The nearest to the agent."""
    user_ms: float
    """From the caller to the agent."""
    edge_ms: float
    """From the agent to its cache."""
    replica_ms: float | None
    origin_ms: float
    """From the agent to the origin."""
    caller_origin_ms: float
    """From the caller to the origin: what the media would travel to an agent there."""


class Operation(Struct, frozen=True):
    """One request to one service, in milliseconds since the session was asked for."""

    service: Service
    name: str
    started: float
    ended: float


class Timeline(Struct, frozen=True, kw_only=True):
    """One call that took as long as half of them: what was asked where, and when."""

    region: str
    scenario: str
    opened: float
    leaving: float
    left: float
    operations: tuple[Operation, ...]


class Moments(Protocol):
    """When a call was opened and left, on the clock of its requests."""

    @property
    def opened(self) -> float: ...
    @property
    def leaving(self) -> float: ...
    @property
    def left(self) -> float: ...


class Month(Struct, frozen=True, kw_only=True):
    """Of all calls of a simulated month, the share that was hot, by policy: from 0 to 1."""

    callers: int
    calls: int
    hot: dict[str, float]


class Judgement(Struct, frozen=True):
    """One promise, as one line."""

    promise: str
    measured: str
    kept: bool


class Conclusion(Struct, frozen=True):
    """What was claimed when the problem was posed, and what the run says of it."""

    claim: str
    verdict: Literal["true", "true under a condition", "not true"]
    found: str


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a reader is shown. Regions, scenarios and links are keyed by name, in the order of playing."""

    world: str
    rtt_ms: dict[str, float]
    """By region: how far the origin is from the agent."""
    places: dict[str, Spot]
    origin: str
    regions: dict[str, Region]
    echo_ms: dict[str, EchoWaits]
    """By link: `{region}-user`, `-edge`, `-replica`, `-geneva`, each as seen from the region's agent."""
    open_ms: dict[str, dict[str, Waits]]
    """By region and scenario: from `memory.session(user)` to a context block in hand."""
    total_ms: dict[str, dict[str, Waits]]
    """The same with the way from the caller to the agent and back, which was measured for each call too."""
    newest_ms: dict[str, dict[str, Waits]]
    """From the opening until the session showed the newest memory, where it opened with an older one."""
    leave_ms: dict[str, dict[str, Waits]]
    """By region, with the origin up and down."""
    added_ms: dict[str, Waits]
    """By scenario, over all regions: the wait less the p99 of the echoes that it cannot do without."""
    requests: dict[Phase, dict[Service, float]]
    """How many requests one call of the scenario `edge` makes, on average, by phase and service."""
    timeline: Timeline | None
    month: Month
    delivered: int
    """How many of the messages that were said stand in the origin, once each."""
    lost: int
    single_flight: SingleFlight
    own_error_ms: EchoWaits
    """How much later than it should an echo came back over a link of 150 ms without jitter."""
    bare_get_ms: EchoWaits | None
    """How long a plain GET of the Worker takes without a link, while calls are played: what the emulator costs."""
    disk_ms: EchoWaits
    """How long one write takes until it is on the disk of the outbox: what leaving cannot do without."""
    judgements: tuple[Judgement, ...]
    conclusions: tuple[Conclusion, ...]
    failures: tuple[str, ...]
    """What went otherwise than the scenario means: then the numbers are not of that scenario."""


def phase_of(call: Moments, started: float, ended: float) -> Phase:
    """Say whether somebody waited for a request: what begins before the session is open counts as asked for it."""
    if started < call.opened:
        return "open"
    return "leave" if call.leaving <= started and ended <= call.left else "background"


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the nearest rank, in milliseconds."""
    return round(sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)] * 1000, 3)


def waits(seconds: Sequence[float]) -> Waits:
    p50, p95, p99 = (percentile(seconds, share) for share in (0.50, 0.95, 0.99))
    return Waits(p50, p95, p99, len(seconds))


def echo_waits(seconds: Sequence[float]) -> EchoWaits:
    return EchoWaits(p50=percentile(seconds, 0.50), p99=percentile(seconds, 0.99))
