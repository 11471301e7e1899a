"""The code of "Test your agent" passes where a user would run it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.fences import fences

AGENT, TESTS, *SCRIPTS = fences("docs/how-to/test-your-agent.md", "python")


def _pytest(folder: Path, agent: str) -> str:
    (folder / "agent.py").write_text(agent, encoding="utf-8")
    (folder / "test_agent.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder).stdout


def test_the_agents_tests_pass(tmp_path: Path) -> None:
    assert "4 passed" in _pytest(tmp_path, AGENT)  # on asyncio and on trio


def test_an_agent_that_forgets_fails_them(tmp_path: Path) -> None:
    assert "2 failed, 2 passed" in _pytest(tmp_path, AGENT.replace("session.set_name", "str"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_run(script: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
