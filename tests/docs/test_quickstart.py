"""The quickstart does what its page says, in real processes, on the embedded Postgres."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
from markdown import markdown

from tests.docs.fences import ROOT, fences

QUICKSTART = ROOT / "examples" / "quickstart.py"
PAGE = "docs/tutorial/quickstart.md"
KNOWN = "] Lives in Lisbon"


@pytest.fixture(scope="module")
def runs() -> Iterator[tuple[str, str]]:
    """What it prints the first time, and the second."""
    with tempfile.TemporaryDirectory() as folder:
        yield (_run(f"{folder}/memory"), _run(f"{folder}/memory"))


def _run(folder: str) -> str:
    done = subprocess.run(
        [sys.executable, QUICKSTART, folder], check=False, capture_output=True, text=True, cwd="/", timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _undated(text: str) -> list[str]:
    return re.sub(r"^- \[\d{4}-\d\d-\d\d\] ", "- [a day] ", text, flags=re.MULTILINE).splitlines()


def _calls(output: str) -> tuple[str, str]:
    first, second = output.split("The second call starts with:")
    return first, second


def test_the_second_call_remembers_the_first(runs: tuple[str, str]) -> None:
    first_call, second_call = _calls(runs[0])
    assert KNOWN not in first_call
    assert KNOWN in second_call


def test_a_new_process_remembers_too(runs: tuple[str, str]) -> None:
    first_call, _ = _calls(runs[1])
    assert KNOWN in first_call


def test_the_page_shows_what_is_printed(runs: tuple[str, str]) -> None:
    for block, output in zip(fences(PAGE, "text"), runs, strict=True):
        printed = iter(_undated(output))
        missing = [line for line in _undated(block) if line != "..." and line not in printed]
        assert not missing  # in the order in which they are printed


def test_the_page_shows_the_program() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    # What `mkdocs.yml` names; a formatter that takes the line for Python must not take the program off the page.
    shown = markdown(
        page, extensions=["pymdownx.snippets"], extension_configs={"pymdownx.snippets": {"base_path": [ROOT]}}
    )
    assert "async def main(folder: str)" in shown


def test_it_is_short() -> None:
    assert len(QUICKSTART.read_text(encoding="utf-8").splitlines()) <= 40
