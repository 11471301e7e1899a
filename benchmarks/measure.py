"""The harness: ways to do one thing take turns, so that all meet the same noise, and are compared round by round."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import repeat
from statistics import median, quantiles
from typing import Literal, TypeVar

from msgspec import Struct

ROUNDS = 20
Round = Callable[[], Awaitable[float]]
"""Does one thing some times over and returns what each time cost: in seconds, or in bytes."""
Unit = Literal["µs", "ms", "commits/s", "changes/s", "bytes"]
_K = TypeVar("_K")

_SHOWN: Mapping[Unit, Callable[[float], float]] = {
    "µs": lambda seconds: seconds * 1e6,
    "ms": lambda seconds: seconds * 1e3,
    "commits/s": lambda seconds: 1 / seconds,
    "changes/s": lambda seconds: 1 / seconds,
    "bytes": lambda size: size,
}


class Spread(Struct, frozen=True):
    """The median of all rounds, and the quartiles: half of the rounds lie between *low* and *high*."""

    median: float
    low: float
    high: float
    rounds: int


class Result(Struct, frozen=True, kw_only=True):
    """What something costs, beside a yardstick. The ratio is that of the costs, so less is better, also of rates."""

    name: str
    beside: str
    unit: Unit
    ours: Spread
    yardstick: Spread
    ratio: Spread
    """Of the two costs in each round."""
    ratio_at_most: float | None = None
    ours_at_most: float | None = None
    """In *unit*."""
    met: bool | None
    """Whether it is at most that; `None` if there is no target."""
    note: str = ""


def spread(values: Sequence[float]) -> Spread:
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), low, high, len(values))


async def in_turns(ways: Mapping[_K, Round], *, rounds: int = ROUNDS) -> dict[_K, list[float]]:
    """Let each of *ways* have its round, then all again; every time another one begins. The first round is not counted.

    What a round leaves behind (warm caches, a garbage collection that is due) so falls to each of them alike.
    """
    costs: dict[_K, list[float]] = {way: [] for way in ways}
    names = list(ways)
    for _ in range(rounds + 1):
        for name in names:
            costs[name].append(await ways[name]())
        names.append(names.pop(0))
    return {name: each[1:] for name, each in costs.items()}


async def compare(
    name: str,
    ours: Round,
    yardstick: Round,
    *,
    beside: str,
    unit: Unit,
    rounds: int = ROUNDS,
    ratio_at_most: float | None = None,
    ours_at_most: float | None = None,
    note: str = "",
) -> Result:
    """Measure both in turns."""
    costs = await in_turns({"ours": ours, "yardstick": yardstick}, rounds=rounds)
    return result(
        name,
        costs["ours"],
        costs["yardstick"],
        beside=beside,
        unit=unit,
        ratio_at_most=ratio_at_most,
        ours_at_most=ours_at_most,
        note=note,
    )


def result(
    name: str,
    ours: Sequence[float],
    yardstick: Sequence[float],
    *,
    beside: str,
    unit: Unit,
    ratio_at_most: float | None = None,
    ours_at_most: float | None = None,
    note: str = "",
) -> Result:
    """Judge the costs of the same rounds."""
    shown = _SHOWN[unit]
    ours_spread = spread([shown(cost) for cost in ours])
    ratio = spread([one / other for one, other in zip(ours, yardstick, strict=True)])
    verdicts = [
        value <= limit
        for value, limit in ((ratio.median, ratio_at_most), (ours_spread.median, ours_at_most))
        if limit is not None
    ]
    return Result(
        name=name,
        beside=beside,
        unit=unit,
        ours=ours_spread,
        yardstick=spread([shown(cost) for cost in yardstick]),
        ratio=ratio,
        ratio_at_most=ratio_at_most,
        ours_at_most=ours_at_most,
        met=all(verdicts) if verdicts else None,
        note=note,
    )


def called(call: Callable[[], object], *, number: int) -> Round:
    """A round of *number* calls."""

    async def once() -> float:
        started = time.perf_counter()
        for _ in repeat(None, number):
            call()
        return (time.perf_counter() - started) / number

    return once


def awaited(call: Callable[[], Awaitable[object]], *, number: int) -> Round:
    """A round of *number* calls, each awaited."""

    async def once() -> float:
        started = time.perf_counter()
        for _ in repeat(None, number):
            await call()
        return (time.perf_counter() - started) / number

    return once


def percentile(percent: int, call: Callable[[], Awaitable[object]], *, number: int) -> Round:
    """A round of *number* calls, each awaited and timed by itself: its cost is what *percent* of them keep to."""

    async def once() -> float:
        seconds: list[float] = []
        for _ in repeat(None, number):
            started = time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - started)
        return quantiles(seconds, n=100, method="inclusive")[percent - 1]

    return once
