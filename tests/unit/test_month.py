"""A month of callers."""

from math import exp, expm1

import pytest

from edgememory.freshness import DAY, Policy
from edgememory.lab import month
from edgememory.lab.month import MEDIAN_GAP, SPREAD, gaps, hot_shares, is_served_by_edgememory

HOUR = 3600.0
MONTH = hot_shares()
RECIPE, LONGER, OURS, WARMED = MONTH.hot


def share_within(window: float, median_gap: float) -> float:
    """Which share of all calls comes less than *window* after the caller's last one: computed, not simulated.

    Who calls at a rate has as many calls, and each comes so soon with probability 1 - exp(-rate * window).
    """
    steps = [number / 500 for number in range(-4000, 4001)]
    rates = [(exp(SPREAD * step) / median_gap, exp(-step * step / 2)) for step in steps]
    hot = sum(weight * rate * -expm1(-rate * window) for rate, weight in rates)
    return hot / sum(weight * rate for rate, weight in rates)


@pytest.mark.parametrize("median_gap", [DAY, MEDIAN_GAP, 30 * DAY])
def test_the_simulated_month_is_the_computed_one(median_gap: float) -> None:
    shares = hot_shares(median_gap).hot
    assert shares[RECIPE] == pytest.approx(share_within(HOUR, median_gap), abs=0.015)
    assert shares[LONGER] == pytest.approx(share_within(DAY, median_gap), abs=0.015)
    assert shares[OURS] == pytest.approx(share_within(30 * DAY + HOUR, median_gap), abs=0.005)
    assert shares[WARMED] == 1.0


def test_the_recipe_is_hot_for_seven_calls_in_a_hundred() -> None:
    assert round(MONTH.hot[RECIPE], 2) == 0.07
    assert MONTH.hot[OURS] > 0.99


def test_the_seldom_callers_of_a_month_are_what_warming_is_for() -> None:
    seldom = hot_shares(30 * DAY).hot
    assert seldom[RECIPE] < 0.02
    assert 0.85 < seldom[OURS] < 0.95


def test_nobody_starts_unknown() -> None:
    assert MONTH.calls == pytest.approx(20_000 * 30 * DAY / MEDIAN_GAP * exp(SPREAD**2 / 2), rel=0.02)
    assert max(gaps(MONTH.calls, seed=1)) > 60 * DAY  # before the month, too, they had called


def test_the_rule_is_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    last = 30 * DAY + HOUR
    assert [is_served_by_edgememory(gap) for gap in (0.0, HOUR, last - 1, last)] == [True, True, True, False]
    monkeypatch.setattr(month, "_POLICY", Policy(stale_while_revalidate=DAY))
    assert not is_served_by_edgememory(last - 1)


def test_it_is_the_same_month_each_time() -> None:
    assert hot_shares() == MONTH


def test_gaps_are_those_of_the_months_calls() -> None:
    drawn = gaps(20_000, seed=3)
    assert drawn == gaps(20_000, seed=3)
    assert drawn != gaps(20_000, seed=4)
    assert sum(gap < HOUR for gap in drawn) / len(drawn) == pytest.approx(MONTH.hot[RECIPE], abs=0.01)
    assert sum(gap < DAY for gap in drawn) / len(drawn) == pytest.approx(MONTH.hot[LONGER], abs=0.015)
    assert min(drawn) > 0
