"""What the lab makes of its samples."""

import pytest

from edgememory.lab.report import EchoWaits, Report, SingleFlight, Waits, judge, percentile

REGION, GENEVA, EDGE = "here", "here-geneva", "here-edge"


def report(*, lost: int = 0, reads: int = 1, **p99: float) -> Report:
    """A run in which every promise was kept, but for what is given."""
    kept = {"edge": 8.0, "cold": 160.0, "stale": 9.0, "edge_down": 205.0, "edge_down_open": 161.0, "warm": 0.4}
    leaving = {"up": 12.0, "down": 12.0}
    opened = {name: p99.get(name, wait) for name, wait in kept.items()}
    left = {name: p99.get(name, wait) for name, wait in leaving.items()}
    return Report(
        rtt_ms={REGION: 150.0},
        echo_ms={GENEVA: EchoWaits(150.0, 152.0), EDGE: EchoWaits(5.0, 6.0)},
        open_ms={REGION: {name: Waits(wait, wait, wait, 10) for name, wait in opened.items()}},
        leave_ms={REGION: {name: Waits(wait, wait, wait, 10) for name, wait in left.items()}},
        delivered=10 - lost,
        lost=lost,
        single_flight=SingleFlight(1000, reads),
    )


def missed(report: Report) -> list[str]:
    judgements = judge(report, region=REGION, geneva=GENEVA, edge=EDGE, edge_timeout=50.0, stale_wait=20.0)
    return [judgement.promise for judgement in judgements if not judgement.kept]


def test_a_percentile_is_a_wait_that_was_measured() -> None:
    seconds = [number / 1000 for number in range(200, 0, -1)]
    assert [percentile(seconds, share) for share in (0.50, 0.95, 0.99, 1.0)] == [100.0, 190.0, 198.0, 200.0]
    assert percentile([0.003], 0.5) == 3.0


def test_a_run_that_kept_every_promise_misses_none() -> None:
    assert missed(report()) == []


@pytest.mark.parametrize(
    ("measured", "promise"),
    [
        ({"edge": 11.1}, "edge at most the edge's echo + 5 ms"),
        ({"cold": 167.1}, "cold at most Geneva's echo + 15 ms"),
        ({"stale": 28.1}, "stale at most edge + 20 ms"),
        ({"edge_down": 210.1}, "edge_down at most cold + 50 ms"),
        ({"edge_down_open": 165.1}, "edge_down_open at most cold + 5 ms"),
        ({"up": 16.1}, "leaving, Geneva up at most the edge's echo + 10 ms"),
        ({"down": 16.1}, "leaving, Geneva down at most the edge's echo + 10 ms"),
        ({"warm": 0.51}, "warm under 0.5 ms"),
        ({"reads": 2}, "1000 readers of one absent user are one read"),
        ({"lost": 1}, "nothing that was said is lost"),
    ],
)
def test_a_promise_that_was_not_kept_is_named(measured: dict[str, int], promise: str) -> None:
    assert promise in missed(report(**measured))
