"""What the lab makes of its samples."""

import pytest
from msgspec.structs import replace

from edgememory.lab.conclusions import conclude
from edgememory.lab.judge import judge
from edgememory.lab.report import (
    Conclusion,
    EchoWaits,
    Month,
    Region,
    Report,
    SingleFlight,
    Spot,
    Waits,
    percentile,
)

KEPT = {
    "edge": 3.0, "cold": 9.0, "replica": 6.0, "replica_unknown_user": 9.0, "stale": 6.0, "edge_down": 57.0,
    "edge_down_open": 10.0, "leave_up": 4.0, "leave_down": 4.0, "warm": 0.4,
    "kv_warm_location": 8.0, "kv_cold_location": 12.0,
}  # fmt: skip


def waits(milliseconds: float) -> Waits:
    return Waits(milliseconds, milliseconds, milliseconds, 10)


def report(**measured: float) -> Report:
    """A run of two regions in which every promise was kept, but for what is given."""
    near = Region(
        caller="san_francisco", agent="us-west", hosts=("Host",), edge="us-west", replica="us-east",
        user_ms=20.0, edge_ms=5.0, replica_ms=60.0, origin_ms=150.0, caller_origin_ms=155.0,
    )  # fmt: skip
    far = replace(near, caller="tokyo", user_ms=100.0)
    regions = {"san_francisco": near, "tokyo": far}
    memory = {
        "direct_pooled": 151.0, "cache_aside_1h": 150.0, "cold": 158.0, "cold_new_process": 1200.0, "edge": 7.0,
        "replica": 62.0, "replica_lag_5s": 62.0, "replica_lag_5s_at_least": 155.0, "origin_down": 7.0, "travel": 7.0,
        "agent_in_geneva": 2.0,
    }  # fmt: skip
    opened = {name: waits(measured.get(f"open_{name}", wait)) for name, wait in memory.items()}

    def total(region: Region, scenario: str, wait: Waits) -> Waits:
        return waits(wait.p50 + (region.caller_origin_ms if scenario == "agent_in_geneva" else region.user_ms))

    return Report(
        world="test",
        rtt_ms=dict.fromkeys(regions, 150.0),
        places={place: Spot(place.replace("_", " ").title(), 0.0, 0.0) for place in ("san_francisco", "tokyo")},
        origin="geneva",
        regions=regions,
        echo_ms={},
        open_ms=dict.fromkeys(regions, opened),
        total_ms={
            name: {scenario: total(region, scenario, wait) for scenario, wait in opened.items()}
            for name, region in regions.items()
        },
        newest_ms={name: {"travel": waits(measured.get("newest", 170.0))} for name in regions},
        leave_ms={},
        added_ms={name: waits(measured.get(name, wait)) for name, wait in KEPT.items()},
        requests={
            "open": {"edge": measured.get("asks", 1.0)},
            "leave": {"edge": 1.0, "outbox": 1.0},
            "background": {"geneva": 2.0},
        },
        timeline=None,
        month=Month(callers=100, calls=1000, hot={"a TTL": 0.07, "more than a TTL": measured.get("hot", 0.93)}),
        delivered=10 - int(measured.get("lost", 0)),
        lost=int(measured.get("lost", 0)),
        single_flight=SingleFlight(1000, int(measured.get("reads", 1))),
        own_error_ms=EchoWaits(0.5, measured.get("error", 2.0)),
        bare_get_ms=EchoWaits(4.0, measured.get("bare", 6.0)),
        disk_ms=EchoWaits(0.5, 2.0),
        judgements=(),
        conclusions=(),
        failures=(),
    )


def missed(report: Report) -> list[str]:
    return [judgement.promise for judgement in judge(report) if not judgement.kept]


def test_a_percentile_is_a_wait_that_was_measured() -> None:
    seconds = [number / 1000 for number in range(200, 0, -1)]
    assert [percentile(seconds, share) for share in (0.50, 0.95, 0.99, 1.0)] == [100.0, 190.0, 198.0, 200.0]
    assert percentile([0.003], 0.5) == 3.0


def test_a_run_that_kept_every_promise_misses_none() -> None:
    assert missed(report()) == []


@pytest.mark.parametrize(
    ("measured", "promise"),
    [
        ({"edge": 5.1}, "edge at most the edge's echo + 5 ms"),
        ({"cold": 15.1}, "cold at most Geneva's echo + 15 ms"),
        ({"replica": 10.1}, "replica at most the replica's echo + 10 ms"),
        ({"replica_unknown_user": 15.1}, "replica_unknown_user at most the replica's echo + Geneva's + 15 ms"),
        ({"kv_warm_location": 9.1}, "kv_warm_location at most the edge's echo + 1.5 bare GETs"),
        ({"bare": 5.3}, "kv_warm_location at most the edge's echo + 1.5 bare GETs"),
        ({"kv_cold_location": 20.1}, "kv_cold_location at most the edge's echo + an object's + 20 ms"),
        ({"stale": 23.1}, "stale at most edge + 20 ms"),
        ({"edge_down": 59.1}, "edge_down at most cold + 50 ms"),
        ({"edge_down_open": 14.1}, "edge_down_open at most cold + 5 ms"),
        ({"leave_up": 10.1}, "leaving, Geneva up at most the edge's echo + 10 ms"),
        ({"leave_down": 10.1}, "leaving, Geneva down at most the edge's echo + 10 ms"),
        ({"warm": 0.51}, "warm under 0.5 ms"),
        ({"newest": 1000.0}, "travel: the newest memory before the first turn, 1,000 ms"),
        ({"asks": 2.0}, "a call's requests to the edge, open: 1"),
        ({"error": 3.1}, "the lab's own error over 150 ms: 1 ms p50, 3 ms p99"),
        ({"reads": 2}, "1,000 readers of one absent user are one read"),
        ({"lost": 1}, "nothing that was said is lost"),
    ],
)
def test_a_promise_that_was_not_kept_is_named(measured: dict[str, float], promise: str) -> None:
    assert missed(report(**measured)) == [promise]


@pytest.mark.parametrize(("calls", "kept"), [(99, True), (100, False)])
def test_of_few_calls_the_slowest_is_not_held_against_them(calls: int, kept: bool) -> None:
    added = report().added_ms | {"edge": Waits(3.0, 4.0, 40.0, calls)}
    [edge] = [line for line in judge(replace(report(), added_ms=added)) if line.promise.startswith("edge at")]
    assert edge.kept is kept
    assert ("(p95 of 99)" in edge.measured) is kept


def test_what_was_not_played_is_not_judged() -> None:
    played = replace(report(), added_ms={"warm": waits(0.1)}, newest_ms={}, requests={})
    assert [judgement.promise for judgement in judge(played) if "ms" in judgement.promise] == [
        "warm under 0.5 ms",
        "the lab's own error over 150 ms: 1 ms p50, 3 ms p99",
    ]


def verdicts(report: Report) -> dict[str, Conclusion]:
    return {conclusion.claim: conclusion for conclusion in conclude(report)}


def test_a_claim_that_holds_in_some_regions_says_in_which() -> None:
    found = verdicts(report())
    hot = found["A call with a hot cache starts in under 30 ms: 20 to the agent, 10 for memory"]
    assert hot.verdict == "true under a condition"
    assert "San Francisco 27 ms, Tokyo 107 ms" in hot.found
    assert "up to 100 ms away" in hot.found
    assert found["Media takes under 50 ms"].verdict == "true under a condition"
    assert found["A cold call starts in about 180 ms"].verdict == "true under a condition"


@pytest.mark.parametrize(
    ("measured", "claim", "verdict"),
    [
        ({}, "Nothing that was said is lost", "true"),
        ({"lost": 1}, "Nothing that was said is lost", "not true"),
        ({"hot": 0.98}, "99 % of calls are hot, in a cache with a TTL of one hour", "not true"),
        ({"hot": 0.995}, "99 % of calls are hot, in a cache with a TTL of one hour", "true under a condition"),
        ({}, "A database answers the agent in under 50 ms", "not true"),
        ({"open_replica": 12.0}, "A database answers the agent in under 50 ms", "true"),
        ({}, "The sketched recipe reads memory in under 30 ms", "not true"),
        ({}, "Memory follows a caller who changes region", "true"),
        ({"newest": 2000.0}, "Memory follows a caller who changes region", "not true"),
        ({}, "A replica's lag of 1 to 5 s is acceptable", "true under a condition"),
    ],
)
def test_a_verdict_follows_from_the_numbers(measured: dict[str, float], claim: str, verdict: str) -> None:
    assert verdicts(report(**measured))[claim].verdict == verdict


def test_nothing_is_concluded_from_what_was_not_played() -> None:
    played = replace(report(), open_ms={"tokyo": {}}, total_ms={"tokyo": {}}, newest_ms={})
    assert set(verdicts(played)) == {
        "99 % of calls are hot, in a cache with a TTL of one hour",
        "Media takes under 50 ms",
        "Nothing that was said is lost",
    }
