"""A clock that goes only when it is told to."""


class ManualClock:
    """Stands still until `advance`: pass `clock.now` or `clock.monotonic` where a clock is asked for."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._wall = start
        self._monotonic = 0.0

    def now(self) -> float:
        """Return the wall clock, in seconds since 1970."""
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._monotonic += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock, forward or back; no time passes."""
        self._wall += seconds
