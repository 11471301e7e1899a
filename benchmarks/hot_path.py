"""`python -m benchmarks.hot_path`: where each tenth of a microsecond of a hot read goes.

`TieredStore.read` is rebuilt from a coroutine that does nothing, a step at a time. What a step costs is the difference
from the one before it, round by round. One user is read again and again: a thousand in turn cost the same (run).
"""

import asyncio
import gc
import math
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from itertools import pairwise, repeat

from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.hot_read import tiered_store
from benchmarks.measure import Round, Spread, in_turns, spread
from benchmarks.people import USER
from benchmarks.report import WIDTH
from edgememory.models import UserKey
from edgememory.stores.memory import InMemoryStore
from edgememory.telemetry import Counters
from edgememory.walk import NEAR, NOTHING, Read

_NUMBER = 20_000
_ROUNDS = 40


class Step(Struct, frozen=True, kw_only=True):
    """What a read costs with this step in it, and how much of that is the step. Microseconds."""

    name: str
    total: Spread
    more: Spread


class Rebuilt:
    """A hot read, from nothing to all of it. Each method is the one above it and a step more."""

    def __init__(self, near: InMemoryStore) -> None:
        self._find, self._touch = near.find, near.touch
        self._monotonic: Callable[[], float] = time.monotonic
        self._counters = Counters()

    async def bare(self, user: UserKey) -> Read:
        return NOTHING

    async def with_defaults(self, user: UserKey, at_least: int = 0, timeout: float = math.inf) -> Read:
        return NOTHING

    async def found(self, user: UserKey, at_least: int = 0, timeout: float = math.inf) -> Read:
        held = self._find(user)
        if held is not None and held.version >= at_least:
            return NOTHING
        raise LookupError

    async def judged(self, user: UserKey, at_least: int = 0, timeout: float = math.inf) -> Read:
        held = self._find(user)
        if held is not None and held.version >= at_least:
            now = self._monotonic()
            if now < held.fresh_until:
                return NOTHING
        raise LookupError

    async def touched(self, user: UserKey, at_least: int = 0, timeout: float = math.inf) -> Read:
        held = self._find(user)
        if held is not None and held.version >= at_least:
            now = self._monotonic()
            if now < held.fresh_until:
                self._touch(user)
                return NOTHING
        raise LookupError

    async def counted(self, user: UserKey, at_least: int = 0, timeout: float = math.inf) -> Read:
        held = self._find(user)
        if held is not None and held.version >= at_least:
            now = self._monotonic()
            if now < held.fresh_until:
                self._touch(user)
                self._counters.reads_fresh += 1
                return NOTHING
        raise LookupError

    async def answered(self, user: UserKey, at_least: int = 0, timeout: float = math.inf) -> Read:
        held = self._find(user)
        if held is not None and held.version >= at_least:
            now = self._monotonic()
            if now < held.fresh_until:
                self._touch(user)
                self._counters.reads_fresh += 1
                return Read(held.entry, "fresh", NEAR, now - held.true_at)
        raise LookupError


_Read = Callable[[UserKey], Coroutine[object, object, Read]]


async def profile() -> Sequence[Step]:
    near = InMemoryStore()
    async with tiered_store(near) as store:
        rebuilt = Rebuilt(near)
        reads: Mapping[str, _Read] = {
            "a coroutine made, awaited and ended": rebuilt.bare,
            "two arguments with defaults": rebuilt.with_defaults,
            "the user found in a dict, the version compared": rebuilt.found,
            "the monotonic clock read, the deadline compared": rebuilt.judged,
            "the user moved to the end of those least used": rebuilt.touched,
            "a counter": rebuilt.counted,
            "the answer: a struct of five fields, and the age": rebuilt.answered,
            "TieredStore.read itself: its slow half, not entered": store.read,
        }
        ways = {"the loop that measures": _looped()}
        ways |= {name: _reading(read) for name, read in reads.items()}
        ways["a key made for the read, hashed and compared"] = _reading_anew(store.read)
        costs = await in_turns(ways, rounds=_ROUNDS)
    totals = {name: [seconds * 1e6 for seconds in each] for name, each in costs.items()}
    first, *_ = totals
    steps = [Step(name=first, total=spread(totals[first]), more=spread(totals[first]))]
    for before, name in pairwise(totals):
        more = [one - other for one, other in zip(totals[name], totals[before], strict=True)]
        steps.append(Step(name=name, total=spread(totals[name]), more=spread(more)))
    return steps


def _looped() -> Round:
    async def once() -> float:
        started = time.perf_counter()
        for _ in repeat(None, _NUMBER):
            pass
        return (time.perf_counter() - started) / _NUMBER

    return once


def _reading(read: _Read) -> Round:
    async def once() -> float:
        started = time.perf_counter()
        for _ in repeat(None, _NUMBER):
            await read(USER)
        return (time.perf_counter() - started) / _NUMBER

    return once


def _reading_anew(read: _Read) -> Round:
    async def once() -> float:
        started = time.perf_counter()
        for _ in repeat(None, _NUMBER):
            await read(UserKey("default", "user-42"))
        return (time.perf_counter() - started) / _NUMBER

    return once


def main() -> None:
    load_before = os.getloadavg()[0]
    gc.collect()
    gc.freeze()
    table = Table(title="A hot read, µs", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("step")
    for column in ("more", "half lie in", "in all"):
        table.add_column(column, justify="right")
    for step in asyncio.run(profile()):
        among = f"{step.more.low:.3f} to {step.more.high:.3f}"
        table.add_row(step.name, f"{step.more.median:.3f}", among, f"{step.total.median:.3f}")
    console = Console(width=WIDTH)
    console.print(table)
    console.print(f"Medians of {_ROUNDS} rounds of {_NUMBER:,}. Load before: {load_before:.2f}.", highlight=False)


if __name__ == "__main__":
    main()
