"""The code of "A Pipecat bot that remembers" is well typed, and runs as far as it goes without a provider's key."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgememory.integrations.pipecat import EdgeMemoryService
from tests.docs.fences import fences

PAGE = "docs/how-to/pipecat.md"
CODE = {code.split("\n", 1)[0].removeprefix("# "): code for code in fences(PAGE, "python")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, code in CODE.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    return tmp_path


@pytest.mark.timeout(300)  # half a minute of a core, most of it for the providers' SDKs
def test_the_code_is_well_typed(folder: Path) -> None:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, folder]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert "0 errors, 0 warnings" in done.stdout, done.stdout + done.stderr


def test_the_bot_s_own_test_passes(folder: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder)
    assert "1 passed" in done.stdout, done.stdout


def test_the_defaults_are_those_on_the_page() -> None:
    values = dict(re.findall(r"^    (\w+)=([\w.]+),", CODE["params.py"], re.MULTILINE))
    assert {name: str(value) for name, value in EdgeMemoryService.InputParams().model_dump().items()} == values
