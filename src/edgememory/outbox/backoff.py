"""How long to wait before the next try."""

import random

FIRST = 0.2
LONGEST = 10.0


def backoff(failures: int, *, longest: float = LONGEST) -> float:
    """Return seconds to wait after *failures* in a row: twice as long each time, anywhere in the upper half of it.

    The jitter keeps a thousand agents from asking a database that has just come back in the same instant.
    """
    ceiling: float = min(longest, FIRST * 2.0 ** min(failures - 1, 16))
    return ceiling * random.uniform(0.5, 1.0)
