"""Which of several copies of a database to ask: pure, from measured round trips and failures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CLEARLY = 0.8
"""Another copy takes over only if its round trip is below this share of the present one's: else they would take
turns, and each change costs a new connection."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
SOON = 0.05
"""Seconds within which any copy may answer before its silence counts against it."""
PATIENCE = 3.0
"""The same, in measured round trips."""


@dataclass(slots=True)
class Copy:
    """What is known of one server. Times in seconds, by a monotonic clock."""

    name: str
    round_trip: float = math.inf
    """Infinite until it was measured, and while that fails."""
    pause: float = 0.0
    down_until: float = -math.inf

    def is_down(self, now: float) -> bool:
        return now < self.down_until

    def failed(self, now: float) -> None:
        """Ask others first, for a second, and twice as long after each failure in a row."""
        if self.is_down(now):
            return  # of several who asked at once, each reports the same failure
        self.pause = min(LONGEST_PAUSE, self.pause * 2 or FIRST_PAUSE)
        self.down_until = now + self.pause

    def answered(self) -> None:
        self.pause = 0.0
        self.down_until = -math.inf

    def is_overdue(self, waited: float) -> bool:
        """Say whether somebody who gave up after *waited* seconds had waited long enough to blame it."""
        return waited > (SOON if math.isinf(self.round_trip) else max(SOON, PATIENCE * self.round_trip))


def choose(copies: Sequence[Copy], present: Copy) -> Copy:
    """Return the nearest copy, or *present* unless that is clearly nearer. Of equals, the first is nearest."""
    nearest = min(copies, key=lambda copy: copy.round_trip)
    return nearest if nearest.round_trip < CLEARLY * present.round_trip else present


def in_turn(copies: Sequence[Copy], chosen: Copy, now: float) -> Sequence[Copy]:
    """Return whom to ask one after the other: *chosen*, then the others by distance; who is down comes last."""
    return sorted(copies, key=lambda copy: (copy.is_down(now), copy is not chosen, copy.round_trip))
