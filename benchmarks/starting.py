"""What it costs to import edgememory, each time in a fresh interpreter."""

import os
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.cache import result

_ROUNDS = 9
_TIMED = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def importing() -> dict[str, str | float]:
    """`import edgememory`, beside importing what it cannot do without."""
    with TemporaryDirectory() as folder:
        # Compiled once, as an installed package is; the first round pays for that, the median does not.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder

        def once(modules: str) -> float:
            argv = [sys.executable, "-c", _TIMED.format(modules)]
            done = subprocess.run(argv, check=True, capture_output=True, text=True, env=environment)
            return float(done.stdout) * 1e6

        ours, theirs = [], []
        for _ in range(_ROUNDS):
            ours.append(once("edgememory"))
            theirs.append(once("asyncio, anyio, anyio.abc, msgspec, uuid_utils"))
    return result("import edgememory / import asyncio, anyio, msgspec, uuid_utils", median(ours), median(theirs))


BENCHMARKS = [importing]
