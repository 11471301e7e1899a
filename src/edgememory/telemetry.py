"""What happened, in plain integers: the one seam through which it is observed.

Counting is one integer addition, because an instrument's `add` costs more than a whole hot read. Whoever observes
reads the integers.
"""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Counters:
    """One process's counts since its `EdgeMemory` was made. Read them at any time; write them never."""

    reads_fresh: int = 0
    reads_stale: int = 0
    reads_degraded: int = 0
    refreshes: int = 0
    changes_made: int = 0
    changes_ignored: int = 0
    """Made in a session that had ended, because its user was deleted."""
    changes_overflowed: int = 0
    """Refused because the queue to the outbox was full."""
    changes_unidentified: int = 0
    """Dropped: made in a session whose caller was never identified."""
    changes_delivered: int = 0
    changes_dropped: int = 0
    """A deletion had overtaken them."""
    changes_rejected: int = 0
    """Refused by the origin: now dead letters."""
    delivery_failures: int = 0
    sessions_extracted: int = 0
    extractions_failed: int = 0
    """Tries; most of them are repeated."""
    background_errors: int = 0
    """Bugs: a background task raised what it should have handled. Logged with a traceback."""


@dataclass(slots=True, kw_only=True)
class TierCounters:
    """What became of the requests to one tier."""

    failures: int = 0
    skips: int = 0
    """Requests that an open circuit breaker spared."""
    corrupt: int = 0
    """Bytes that were no entry: treated as a miss."""
    offers_failed: int = 0
