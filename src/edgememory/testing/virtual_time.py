"""Virtual time: hours in seconds, and the same run for the same seed. Needs the extra `testing`, for trio."""

import random
from collections.abc import Awaitable, Callable
from importlib import import_module
from math import inf
from typing import TypeVar, TypeVarTuple
from unittest.mock import patch

import trio
from trio.abc import Clock

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


def in_virtual_time(seed: int, work: Callable[[*_Args], Awaitable[_T]], *args: *_Args) -> _T:
    """Run *work* on an event loop of its own, and return its result.

    Whenever every task waits for a timer, time jumps to the next one: nothing really sleeps. Pass
    `anyio.current_time` wherever a clock is asked for. Which of several tasks goes first is drawn from *seed*, as is
    everything that the module `random` gives: what reads no other clock, thread or network replays exactly.
    """
    # Private, but there for this: Hypothesis seeds `_r` in the same way, and pytest-trio sets the other.
    scheduler = import_module("trio._core._run")
    state = random.getstate()
    random.seed(seed)
    scheduler._r.seed(seed)
    try:
        with patch.object(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", new=True):
            return trio.run(work, *args, clock=_JumpingClock())
    finally:
        random.setstate(state)


class _JumpingClock(Clock):
    """Jumps to each deadline that the loop would sleep for. trio's `MockClock` does so by a task, a sixth slower."""

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline == inf:
            return inf
        self._now = max(self._now, deadline)
        return 0.0
