"""A report as a run of the whole world leaves it, with numbers that are made up: six regions, one call, one month."""

from collections.abc import Mapping

from msgspec.structs import replace

from edgememory.lab.conclusions import conclude
from edgememory.lab.judge import judge
from edgememory.lab.report import (
    EchoWaits,
    Month,
    Operation,
    Region,
    Report,
    SingleFlight,
    Spot,
    Timeline,
    Waits,
)

PLACES: Mapping[str, Spot] = {
    "geneva": Spot("Geneva", 46.2, 6.1),
    "san_francisco": Spot("San Francisco", 37.8, -122.4),
    "new_york": Spot("New York", 40.7, -74.0),
    "sao_paulo": Spot("São Paulo", -23.5, -46.6),
    "london": Spot("London", 51.5, -0.1),
    "tokyo": Spot("Tokyo", 35.7, 139.7),
    "sydney": Spot("Sydney", -33.9, 151.2),
    "us-west": Spot("Oregon", 45.8, -119.7),
    "us-east": Spot("Virginia", 39.0, -77.5),
    "eu-central": Spot("Frankfurt", 50.1, 8.7),
    "ap-south": Spot("Mumbai", 19.1, 72.9),
}
_BOTH = ("LiveKit Cloud", "Pipecat Cloud")
_COUNT = 84


def _region(
    caller: str, agent: str, hosts: tuple[str, ...], user: float, origin: float, caller_origin: float
) -> Region:
    near = agent == "eu-central"
    return Region(
        caller=caller, agent=agent, hosts=hosts, edge=agent, replica=None if near else agent,
        user_ms=user, edge_ms=5.0, replica_ms=None if near else 5.0, origin_ms=origin, caller_origin_ms=caller_origin,
    )  # fmt: skip


REGIONS: Mapping[str, Region] = {
    "san_francisco": _region("san_francisco", "us-west", ("Pipecat Cloud",), 20.0, 150.0, 150.0),
    "new_york": _region("new_york", "us-east", _BOTH, 5.3, 114.1, 101.0),
    "sao_paulo": _region("sao_paulo", "us-east", _BOTH, 119.5, 114.1, 194.9),
    "london": _region("london", "eu-central", _BOTH, 9.6, 7.1, 11.1),
    "tokyo": _region("tokyo", "us-west", ("Pipecat Cloud",), 89.1, 150.0, 236.5),
    "sydney": _region("sydney", "ap-south", _BOTH, 152.4, 100.8, 323.5),
}


def _memory(region: Region) -> dict[str, float]:
    """What callers of *region* wait for, at the median."""
    far = region.origin_ms
    near = {
        "direct_new_connection": 7.1 * far, "direct_pooled": far * 1.01 + 0.8, "cache_aside_1h": far * 1.02 + 6.9,
        "cold": far * 1.01 + 7.4, "cold_new_process": 8.1 * far, "edge": 6.83, "warm": 0.31, "stale": 7.46,
        "callback": 19.62, "origin_down": 7.11, "edge_down": far * 1.01 + 51.2, "edge_down_open": far * 1.01 + 2.1,
        "travel": 7.02, "agent_in_geneva": 3.41, "kv_warm_location": 9.02, "kv_cold_location": 157.9,
        "unplugged": 9.71,
    }  # fmt: skip
    if region.replica is None:
        return near
    return near | {
        "replica": 12.62,
        "replica_unknown_user": far * 1.01 + 13.9,
        "replica_lag_5s": 12.81,
        "replica_lag_5s_at_least": far * 1.01 + 13.1,
    }


def _waits(p50: float) -> Waits:
    return Waits(round(p50, 3), round(1.02 * p50 + 0.4, 3), round(1.03 * p50 + 1.1, 3), _COUNT)


def _total(region: Region, scenario: str, p50: float) -> Waits:
    return _waits(p50 + (region.caller_origin_ms if scenario == "agent_in_geneva" else region.user_ms) * 1.02)


def _echoes(name: str, region: Region) -> dict[str, EchoWaits]:
    links = {"user": region.user_ms, "edge": region.edge_ms, "geneva": region.origin_ms, "replica": region.replica_ms}
    return {
        f"{name}-{far}": EchoWaits(round(1.01 * trip + 0.3, 3), round(1.05 * trip + 0.9, 3))
        for far, trip in links.items()
        if trip is not None
    }


_TIMELINE = Timeline(
    region="san_francisco",
    scenario="edge",
    opened=6.83,
    leaving=7.214,
    left=14.902,
    operations=(
        Operation("outbox", "pending", 0.08, 0.11),
        Operation("edge", "get", 0.13, 6.41),
        Operation("geneva", "get", 7.02, 160.33),
        Operation("outbox", "append", 7.31, 8.62),
        Operation("edge", "put", 8.71, 14.62),
        Operation("geneva", "commit", 15.02, 171.4),
        Operation("edge", "put", 160.5, 166.21),
        Operation("edge", "put", 171.6, 177.3),
    ),
)


def made_up_report() -> Report:
    """Return the report of a run in which nothing was lost and one promise was missed."""
    memory = {name: _memory(region) for name, region in REGIONS.items()}
    report = Report(
        world="default",
        rtt_ms={name: region.origin_ms for name, region in REGIONS.items()},
        places=dict(PLACES),
        origin="geneva",
        regions=dict(REGIONS),
        echo_ms={link: echo for name, region in REGIONS.items() for link, echo in _echoes(name, region).items()},
        open_ms={name: {scenario: _waits(p50) for scenario, p50 in by.items()} for name, by in memory.items()},
        total_ms={
            name: {scenario: _total(REGIONS[name], scenario, p50) for scenario, p50 in by.items()}
            for name, by in memory.items()
        },
        newest_ms={name: {"travel": _waits(1.01 * region.origin_ms + 8.0)} for name, region in REGIONS.items()},
        leave_ms={name: {"up": _waits(7.61), "down": _waits(8.12)} for name in REGIONS},
        added_ms={
            "edge": _waits(2.1), "cold": _waits(7.2), "replica": _waits(6.9), "replica_unknown_user": _waits(8.0),
            "stale": _waits(3.1), "edge_down": _waits(52.0), "edge_down_open": _waits(3.1), "warm": _waits(-0.83),
            "kv_warm_location": _waits(4.2), "kv_cold_location": _waits(6.1),
            "leave_up": _waits(3.0), "leave_down": _waits(11.6),
        },
        requests={
            "open": {"edge": 1.0, "outbox": 1.0},
            "leave": {"edge": 1.0, "outbox": 1.0},
            "background": {"edge": 2.0, "geneva": 2.012},
        },
        timeline=_TIMELINE,
        month=Month(
            callers=20_000,
            calls=248_112,
            hot={
                "cache-aside, 1 hour": 0.0712,
                "cache-aside, 1 day": 0.448,
                "edgememory, stale while revalidate": 0.9413,
                "edgememory, warmed while it rings": 1.0,
            },
        ),
        delivered=17_640,
        lost=0,
        single_flight=SingleFlight(1000, 1),
        own_error_ms=EchoWaits(0.41, 1.83),
        bare_get_ms=EchoWaits(4.1, 7.9),
        disk_ms=EchoWaits(0.52, 3.11),
        judgements=(),
        conclusions=(),
        failures=(),
    )  # fmt: skip
    return replace(report, judgements=tuple(judge(report)), conclusions=tuple(conclude(report)))


def only(report: Report, *, regions: tuple[str, ...], scenarios: tuple[str, ...]) -> Report:
    """Return what is left of *report* had only these been played."""

    def kept(by_region: Mapping[str, Mapping[str, Waits]]) -> dict[str, dict[str, Waits]]:
        return {
            name: {scenario: waited for scenario, waited in by_region[name].items() if scenario in scenarios}
            for name in regions
        }

    traced = "edge" in scenarios
    part = replace(
        report,
        rtt_ms={name: report.rtt_ms[name] for name in regions},
        regions={name: report.regions[name] for name in regions},
        echo_ms={link: echo for link, echo in report.echo_ms.items() if link.rpartition("-")[0] in regions},
        open_ms=kept(report.open_ms),
        total_ms=kept(report.total_ms),
        newest_ms=kept(report.newest_ms) if "travel" in scenarios else {},
        leave_ms={name: report.leave_ms[name] for name in regions} if traced else {},
        added_ms={name: waited for name, waited in report.added_ms.items() if name in scenarios},
        requests=report.requests if traced else {},
        timeline=replace(_TIMELINE, region=regions[0]) if traced else None,
        judgements=(),
        conclusions=(),
    )
    return replace(part, judgements=tuple(judge(part)), conclusions=tuple(conclude(part)))
