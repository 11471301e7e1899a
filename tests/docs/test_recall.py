"""The code of "Find what was said" prints what the page shows."""

import subprocess
import sys

from tests.docs.fences import fences

PAGE = "docs/how-to/recall.md"


def test_the_page_shows_what_is_printed() -> None:
    done = subprocess.run([sys.executable, "-c", fences(PAGE, "python")[0]], check=True, capture_output=True, text=True)
    assert done.stdout == fences(PAGE, "text")[0]


def test_the_turns_code_runs() -> None:
    compile(fences(PAGE, "python")[1], PAGE, "exec")
