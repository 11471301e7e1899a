"""From samples to the report: pure."""

from collections.abc import Sequence
from statistics import fmean

from msgspec.structs import replace

from edgememory.lab.conclusions import conclude
from edgememory.lab.geography import World
from edgememory.lab.judge import judge
from edgememory.lab.month import CALLERS, hot_shares
from edgememory.lab.report import (
    Month,
    Operation,
    Phase,
    Region,
    Report,
    Service,
    Spot,
    Timeline,
    Waits,
    echo_waits,
    percentile,
    phase_of,
    waits,
)
from edgememory.lab.run import Plan, Played
from edgememory.lab.samples import Samples, Traced, summed
from edgememory.lab.scenarios.playbook import SCENARIOS

_PHASES: tuple[Phase, ...] = ("open", "leave", "background")


def assemble(plan: Plan, played: Played) -> Report:
    """Make the report of what was played."""
    samples, world = played.samples, plan.world
    regions = {name: _region(world, name) for name in plan.regions}
    traced = _farthest(samples.traced, regions)
    report = Report(
        world=world.name,
        rtt_ms={name: region.origin_ms for name, region in regions.items()},
        places={name: Spot(place.label, place.latitude, place.longitude) for name, place in world.places.items()},
        origin=world.origin,
        regions=regions,
        echo_ms={link: echo_waits(times) for link, times in samples.echoes.items()},
        open_ms=summed(samples.opened),
        total_ms=summed(samples.total),
        newest_ms=summed(samples.newest),
        leave_ms=_leaving(samples),
        added_ms=_added(samples, world),
        requests=_requests(traced),
        timeline=_timeline(traced),
        month=_month(),
        delivered=played.delivered,
        lost=played.said - played.delivered,
        single_flight=played.single_flight,
        own_error_ms=echo_waits(played.errors),
        bare_get_ms=echo_waits(samples.bare_gets) if samples.bare_gets else None,
        disk_ms=echo_waits(samples.disk),
        judgements=(),
        conclusions=(),
        failures=tuple(played.failures),
    )
    return replace(report, judgements=tuple(judge(report)), conclusions=tuple(conclude(report)))


def _region(world: World, name: str) -> Region:
    region = world.region(name)

    def milliseconds(here: str, there: str) -> float:
        return round(world.link(here, there).round_trip * 1000, 3)

    return Region(
        caller=region.caller,
        agent=region.agent,
        hosts=region.hosts,
        edge=region.edge,
        replica=region.replica,
        user_ms=milliseconds(region.caller, region.agent),
        edge_ms=milliseconds(region.agent, region.edge),
        replica_ms=None if region.replica is None else milliseconds(region.agent, region.replica),
        origin_ms=milliseconds(region.agent, world.origin),
        caller_origin_ms=milliseconds(region.caller, world.origin),
    )


def _leaving(samples: Samples) -> dict[str, dict[str, Waits]]:
    named = {"up": "edge", "down": "origin_down"}
    return {
        region: {state: waits(left[scenario]) for state, scenario in named.items() if scenario in left}
        for region, left in samples.left.items()
    }


def _added(samples: Samples, world: World) -> dict[str, Waits]:
    added: dict[str, list[float]] = {}
    for region, opened in samples.opened.items():
        echo = {far: percentile(samples.echoes[f"{region}-{far}"], 0.99) / 1000 for far in _links(samples, region)}
        if world.kv is not None:
            echo["object"] = world.kv.distant_object
        for scenario, times in opened.items():
            floor = sum(echo[far] for far in SCENARIOS[scenario].floor)
            added.setdefault(scenario, []).extend(wait - floor for wait in times)
        for name, scenario in {"leave_up": "edge", "leave_down": "origin_down"}.items():
            left = samples.left[region].get(scenario, [])
            added.setdefault(name, []).extend(wait - echo["edge"] for wait in left)
    return {scenario: waits(times) for scenario, times in added.items() if times}


def _links(samples: Samples, region: str) -> list[str]:
    return [link.removeprefix(f"{region}-") for link in samples.echoes if link.startswith(f"{region}-")]


def _farthest(traced: Sequence[Traced], regions: dict[str, Region]) -> list[Traced]:
    """Keep the calls of the region that is farthest from the origin: there phases do not overlap."""
    farthest = max(regions, key=lambda name: regions[name].origin_ms)
    return [call for call in traced if call.region == farthest]


def _requests(traced: Sequence[Traced]) -> dict[Phase, dict[Service, float]]:
    """Count requests a call. The region farthest from the origin is counted: there, phases do not overlap."""
    if not traced:
        return {}
    made: list[list[tuple[Phase, Service]]] = [
        [(phase_of(call, request.started, request.ended), request.service) for request in call.requests]
        for call in traced
    ]
    services: list[Service] = sorted({service for call in made for _, service in call})
    return {phase: {service: _times(made, phase, service) for service in services} for phase in _PHASES}


def _times(calls: Sequence[Sequence[tuple[Phase, Service]]], phase: Phase, service: Service) -> float:
    return round(fmean(call.count((phase, service)) for call in calls), 3)


def _timeline(traced: Sequence[Traced]) -> Timeline | None:
    """Draw the call whose opening took as long as half of them."""
    if not traced:
        return None
    call = sorted(traced, key=lambda call: call.opened - call.asked)[(len(traced) - 1) // 2]

    def at(moment: float) -> float:
        return round((moment - call.asked) * 1000, 3)

    return Timeline(
        region=call.region,
        scenario="edge",
        opened=at(call.opened),
        leaving=at(call.leaving),
        left=at(call.left),
        operations=tuple(
            Operation(request.service, request.name, at(request.started), at(request.ended))
            for request in call.requests
        ),
    )


def _month() -> Month:
    shares = hot_shares()
    return Month(callers=CALLERS, calls=shares.calls, hot=dict(shares.hot))
