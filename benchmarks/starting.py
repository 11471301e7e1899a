"""Importing edgememory, each time in a fresh interpreter."""

import os
import sys
from collections.abc import AsyncIterator
from tempfile import TemporaryDirectory

from anyio import run_process

from benchmarks.measure import Result, Round, in_turns, result

_TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
_NEEDED = "asyncio, anyio, anyio.abc, msgspec, uuid_utils"


async def measured() -> AsyncIterator[Result]:
    with TemporaryDirectory() as folder:
        # Compiled once, as an installed package is: the first round, which is not counted, pays for that.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        ways = {module: _importing(module, environment) for module in ("edgememory", _NEEDED)}
        seconds = await in_turns(ways, rounds=9)
    yield result(
        "import edgememory",
        seconds["edgememory"],
        seconds[_NEEDED],
        beside=f"import {_NEEDED}",
        unit="ms",
        ours_at_most=150,
    )


def _importing(modules: str, environment: dict[str, str]) -> Round:
    async def once() -> float:
        argv = [sys.executable, "-c", _TIMED.format(modules)]
        return float((await run_process(argv, env=environment)).stdout)

    return once
