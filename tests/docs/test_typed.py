"""What the documentation shows as code is typed, as strictly as ours: one run of mypy for all of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.fences import ROOT, fences

[README] = fences("README.md", "python")
AGENT, _, *SCRIPTS = fences("docs/how-to/test-your-agent.md", "python")
[EXTRACTOR] = [code for code in fences("docs/how-to/models.md", "python") if code.startswith("# own.py\n")]
[BACKEND] = [
    code for code in fences("docs/how-to/write-a-backend.md", "python") if code.startswith("# folder_store.py\n")
]


@pytest.mark.timeout(300)  # mypy without its cache, which `make check` fills
def test_what_is_shown_is_typed(tmp_path: Path) -> None:
    files = []
    for number, code in enumerate([README, AGENT, *SCRIPTS, EXTRACTOR, BACKEND]):
        files.append(tmp_path / f"shown_{number}.py")
        files[-1].write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *files, ROOT / "examples" / "quickstart.py"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (0, "")
