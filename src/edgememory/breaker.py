"""A circuit breaker: stop asking what does not answer. Pure: whoever uses it tells it the time."""

from dataclasses import dataclass

FAILURES_TO_OPEN = 3
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class Breaker:
    """Opens after three failures in a row, for 1 s, then 2, 4 and so on to 30 s; one success closes it.

    At the end of each pause one request may try. It is given the length of that pause to report; if it never does
    (it was cancelled), the next one may try.
    """

    failures: int = 0
    pause: float = 0.0
    blocked_until: float = 0.0
    """Monotonic seconds; no request before."""

    def allows(self, now: float) -> bool:
        """Say whether a request may be made at *now* (monotonic seconds); an open breaker counts it as its trial."""
        if self.failures < FAILURES_TO_OPEN:
            return True
        if now < self.blocked_until:
            return False
        self.blocked_until = now + self.pause
        return True

    def succeeded(self) -> None:
        """Close."""
        self.failures = 0
        self.pause = 0.0

    def failed(self, now: float) -> None:
        """Count a failure; open if it is one too many."""
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self.pause = min(LONGEST_PAUSE, self.pause * 2 or FIRST_PAUSE)
            self.blocked_until = now + self.pause
