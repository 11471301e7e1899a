"""The promises hold in simulated worlds: as many of them as Hypothesis tries examples, each from a seed of its own."""

import pytest
from hypothesis import settings

from tests.simulation.checks import violations
from tests.simulation.cloudflare import Location
from tests.simulation.history import Committed, Converged, Deleted, Died, Got, Left, Made, Restarted, WasCommitted
from tests.simulation.run import simulate

SEEDS = settings().max_examples


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_promises_hold_whatever_goes_wrong(seed: int) -> None:
    found = violations(simulate(seed))
    assert not found, "\n".join([*found[:3], f"replay: python -m tests.simulation --seed {seed}"])


def test_a_seed_replays_exactly() -> None:
    assert simulate(3).encoded() == simulate(3).encoded()


def test_another_seed_is_another_history() -> None:
    assert simulate(3).encoded() != simulate(4).encoded()


def test_worlds_are_eventful() -> None:
    """A simulation in which nothing happens proves nothing."""
    histories = [simulate(seed) for seed in range(5)]
    for kind in (Committed, Converged, Deleted, Died, Got, Left, Made, Restarted, WasCommitted):
        assert any(True for history in histories for _ in history.of(kind)), kind
    assert {0.0, Location.cleared_after} == {history.cleared_after for history in histories}, "Redis, and Cloudflare"
    reads = [got for history in histories for got in history.of(Got)]
    assert {"fresh", "stale", "degraded"} <= {got.status for got in reads}
    assert {"memory", "edge", "origin", "replica"} <= {got.tier for got in reads}
