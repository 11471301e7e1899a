"""The lint rule that keeps the pure modules pure must not rot: it is run on probes with the project's own settings."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = ["models", "changes", "apply", "freshness", "codec", "keys", "context", "limits", "breaker"]
IMPURE_LINES = [
    "import time",
    "from time import monotonic",
    "import anyio",
    "import asyncpg",
    "import redis.asyncio",
    "import random",
    "import datetime; NOW = datetime.datetime.now(datetime.UTC)",
]


def rules_broken(line: str, path: str) -> str:
    probe = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select=TID251", "--output-format=concise"]
        + ["--no-cache", f"--stdin-filename={path}", "-"],
        input=f"{line}\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert probe.returncode in (0, 1), probe.stderr
    return probe.stdout


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_cannot_read_a_clock(module: str) -> None:
    assert "TID251" in rules_broken("import time", f"src/edgememory/{module}.py")


@pytest.mark.parametrize("line", IMPURE_LINES)
def test_a_pure_module_cannot_reach(line: str) -> None:
    assert "TID251" in rules_broken(line, "src/edgememory/apply.py")


@pytest.mark.parametrize("path", ["src/edgememory/tiered.py", "src/edgememory/stores/redis.py", "tests/unit/test_x.py"])
def test_an_impure_module_may_read_a_clock(path: str) -> None:
    assert "TID251" not in rules_broken("import time", path)
