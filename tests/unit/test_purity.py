"""The lint rule that keeps the pure modules pure is run on probes, so that it cannot rot."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUFF = [sys.executable, "-m", "ruff", "check", "--select=TID251", "--output-format=concise", "--no-cache"]

RULES = ["patterns", "cut", "spoken", "found", "asked", "summary", "rules"]
EXTRACTING = [f"extract/{module}" for module in ("checked", *RULES)]
PURE = ["models", "changes", "apply", "freshness", "codec", "keys", "context", "limits", "breaker", *EXTRACTING]
IMPURE = ["tiered", "session", "stores/redis", "outbox/delivery", "extract/openai"]
REACHES = {
    "clock": "import time",
    "clock-function": "from time import monotonic",
    "wall-clock": "import datetime; datetime.datetime.now(datetime.UTC)",
    "imported-wall-clock": "from datetime import datetime; datetime.now()",
    "event-loop": "import anyio",
    "driver": "import asyncpg",
    "driver-submodule": "import redis.asyncio",
    "chance": "import random",
    "ids": "from uuid_utils import uuid7",
}


def is_refused(line: str, path: str) -> bool:
    """Lint *line* as if it stood in the file *path*, with the project's own settings."""
    ruff = subprocess.run(
        [*RUFF, f"--stdin-filename={path}", "-"],
        input=f"{line}\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ruff.returncode in {0, 1}, ruff.stderr
    return "TID251" in ruff.stdout


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_reads_no_clock(module: str) -> None:
    assert is_refused("import time", f"src/edgememory/{module}.py")


@pytest.mark.parametrize("line", REACHES.values(), ids=REACHES.keys())
def test_a_pure_module_reaches_nothing_outside(line: str) -> None:
    assert is_refused(line, "src/edgememory/apply.py")


@pytest.mark.parametrize("module", IMPURE)
def test_any_other_module_may_read_a_clock(module: str) -> None:
    assert not is_refused("import time", f"src/edgememory/{module}.py")


def test_tests_may_read_a_clock() -> None:
    assert not is_refused("import time", "tests/unit/test_purity.py")
