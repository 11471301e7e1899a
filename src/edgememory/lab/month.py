"""A month of callers: how many calls find their memory near, under which policy. Pure; the same numbers each time."""

import random
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from edgememory.freshness import DAY, Policy, Verdict, decide
from edgememory.models import Entry, Snapshot

CALLERS = 20_000
MONTH = 30 * DAY
MEDIAN_GAP = 5 * DAY
SPREAD = 1.2
"""Standard deviation of the logarithm of the callers' rates: of forty callers one calls twice a day or more, and one
less than once in seven weeks."""
_SEED = 1

_KNOWN = Snapshot(version=1, exists=True)
_POLICY = Policy()


class Shares(Struct, frozen=True):
    """What a month had, and which share of its calls was hot, by policy."""

    calls: int
    hot: Mapping[str, float]


def is_served_by_edgememory(gap: float) -> bool:
    """Say whether an entry that was written at the end of a call *gap* seconds ago answers at once."""
    return decide(Entry(snapshot=_KNOWN, synced_at=0.0), _POLICY, now=gap) in (Verdict.FRESH, Verdict.STALE)


_POLICIES: Mapping[str, Callable[[float], bool]] = {
    "cache-aside, 1 hour": lambda gap: gap < 3600,
    "cache-aside, 1 day": lambda gap: gap < DAY,
    "edgememory, stale while revalidate": is_served_by_edgememory,
    "edgememory, warmed while it rings": lambda _: True,
}


def hot_shares(median_gap: float = MEDIAN_GAP) -> Shares:
    """Simulate the month and judge each call by how long ago the same caller called last.

    Rates are log-normal, half of the callers call more often than once in *median_gap* seconds. Nobody starts unknown:
    each caller's last call before the month is drawn too. Warming counts as hot: it asks Geneva while the phone rings.
    """
    gaps_met = list(_month(random.Random(_SEED), median_gap))
    hot = {name: sum(map(served, gaps_met)) / len(gaps_met) for name, served in _POLICIES.items()}
    return Shares(len(gaps_met), hot)


def gaps(count: int, *, seed: int) -> list[float]:
    """Draw how long ago the callers of *count* calls of such a month have called last, in seconds."""
    return random.Random(seed).sample(list(_month(random.Random(_SEED), MEDIAN_GAP)), count)


def _month(draw: random.Random, median_gap: float) -> Iterator[float]:
    for _ in range(CALLERS):
        rate = draw.lognormvariate(0, SPREAD) / median_gap
        now, last = draw.expovariate(rate), -draw.expovariate(rate)  # a Poisson process has no memory, either way
        while now < MONTH:
            yield now - last
            now, last = now + draw.expovariate(rate), now
