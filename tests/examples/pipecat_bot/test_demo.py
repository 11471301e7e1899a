"""`bot.py demo` runs as the README says, in a real process, without keys."""

import os
import subprocess
import sys
from pathlib import Path

from tests.docs.fences import fences
from tests.examples.pipecat_bot.conftest import EXAMPLE


def test_the_demo_remembers_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE / "bot.py", "demo"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHON_DOTENV_DISABLED": "1"},
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "remembered: yes"), done.stderr
    first, second = done.stdout.split("The second call")
    assert "We have not met." in first
    assert "bot: Welcome back, Anna! I remember that you live in Lisbon and you like the cello." in second
    assert second.count("for memory)") == 3
    assert list(tmp_path.iterdir()) == []
    [shown] = fences("examples/pipecat_bot/README.md", "text")
    printed = iter(done.stdout.splitlines())
    assert [line for line in shown.splitlines() if line != "..." and line not in printed] == []  # in this order
