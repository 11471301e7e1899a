"""Part two of the tutorial does what its page says, in a real process, on the embedded Postgres."""

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.fences import ROOT, fences

PAGE = "docs/tutorial/what-matters.md"


def _undated(text: str) -> list[str]:
    return re.sub(r"\[\d{4}-\d\d-\d\d\]", "[date]", text).splitlines()


def test_the_page_shows_what_is_printed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "what_matters.py", str(tmp_path / "memory")],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stderr) == (0, "")
    printed = iter(_undated(done.stdout))
    (shown,) = fences(PAGE, "text")
    missing = [line for line in _undated(shown) if line != "..." and line not in printed]
    assert not missing  # in the order in which they are printed
