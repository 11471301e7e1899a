"""One part of a configuration, tried step by step."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from edgememory.doctor.network import Place, connect, resolve, shake_hands
from edgememory.doctor.report import Step
from edgememory.errors import EdgeMemoryError

STEP_TIMEOUT = 10.0
"""Seconds. Whatever the configuration allows a tier: the doctor wants to know what is wrong."""

_T = TypeVar("_T")
Tried = Callable[[], Awaitable[_T]]


class Wrong(Exception):  # noqa: N818 - it is caught where it is raised
    """A step has found a problem: those that follow cannot succeed."""


class Steps:
    """The steps of one part, each timed; ends at the first problem."""

    def __init__(self) -> None:
        self.taken: list[Step] = []

    async def step(self, name: str, tried: Tried[_T], *, timeout: float = 0.0) -> _T:
        """Return the answer. *timeout* is for what may take longer than others.

        Raises:
            Wrong: there is none.
        """
        answer, milliseconds = await self.timed(name, tried, timeout=timeout)
        self.taken.append(Step(name, milliseconds))
        return answer

    async def timed(self, name: str, tried: Tried[_T], *, timeout: float = 0.0) -> tuple[_T, float]:
        """Return the answer and how long it took: a step only if it goes wrong."""
        started, within = time.perf_counter(), max(STEP_TIMEOUT, timeout)
        try:
            with anyio.fail_after(within):
                answer = await tried()
        except TimeoutError:
            problem = f"no answer within {within:g} s: is something between that swallows what is sent?"
        except (EdgeMemoryError, OSError, ImportError) as error:
            problem = str(error)
        else:
            return answer, milliseconds_since(started)
        self.taken.append(Step(name, milliseconds_since(started), problem))
        raise Wrong

    async def reach(self, place: Place | None) -> None:
        """Find the way there, unless it is this host."""
        if place is None:
            return
        await self.step("resolve", lambda: resolve(place))
        await self.step("connect", lambda: connect(place))
        if place.tls:
            await self.step("tls", lambda: shake_hands(place))


def milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
