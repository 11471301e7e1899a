"""The promises hold in simulated worlds."""

import os
from typing import get_args

import pytest
from hypothesis import settings

from edgememory.testing.history import (
    Asked,
    Committed,
    Converged,
    Deleted,
    Died,
    Evicted,
    Flushed,
    Form,
    Got,
    Idled,
    Left,
    Made,
    Restored,
    WasCommitted,
)
from tests.simulation.cloudflare import Location
from tests.simulation.run import REPLAY, all_broken_in, broken_in, simulate

WORLDS = 5 * settings().max_examples


@pytest.mark.timeout(1800)
def test_the_promises_hold_whatever_goes_wrong() -> None:
    seeds = range(WORLDS)
    broken = [
        f"{found[0]}\n  replay: {REPLAY} {seed}"
        for seed, found in zip(seeds, all_broken_in(seeds, os.cpu_count() or 1), strict=True)
        if found
    ]
    assert not broken, "\n".join(broken[:10])


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(1001238, id="what was refused is shown for good by a session that was left in another process"),
        pytest.param(1002479, id="a load that another reader had begun answers with what was true before a commit"),
        pytest.param(1795901655, id="who is back talks over the host's old tombstone, and a later deletion drops it"),
    ],
)
def test_a_world_that_found_a_bug_once(seed: int) -> None:
    """Another world is made of a seed as soon as worlds change: each bug has an exact test, and is a mutant, too."""
    assert not broken_in(seed)


def test_a_seed_replays_exactly() -> None:
    assert simulate(3).encoded() == simulate(3).encoded()


def test_another_seed_is_another_history() -> None:
    assert simulate(3).encoded() != simulate(4).encoded()


def test_worlds_are_eventful() -> None:
    """A simulation in which nothing happens proves nothing."""
    histories = [simulate(seed) for seed in range(12)]
    kinds = (
        Asked,
        Committed,
        Converged,
        Deleted,
        Died,
        Evicted,
        Flushed,
        Got,
        Idled,
        Left,
        Made,
        Restored,
        WasCommitted,
    )
    for kind in kinds:
        assert any(True for history in histories for _ in history.of(kind)), kind
    assert {0.0, Location.cleared_after} == {history.cleared_after for history in histories}, "Redis, and Cloudflare"
    assert set(get_args(Form)) == {made.form for history in histories for made in history.of(Made)}
    reads = [got for history in histories for got in history.of(Got)]
    assert {"fresh", "stale", "degraded"} <= {got.status for got in reads}
    assert {"memory", "edge", "origin", "replica"} <= {got.tier for got in reads}
    assert any("a session" in converged.store for history in histories for converged in history.of(Converged))
