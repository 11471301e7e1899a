"""`python -m tests.mutants`: plant each bug in a copy of the source, and see the suite fail. Needs no server."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.planted import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
SUITE = (
    "tests/stateful/test_tiered_races.py",
    "tests/stateful/test_tiered_time.py",
    "tests/unit/test_delivery.py",
    "tests/unit/test_outbox_requests.py",
    "tests/simulation/test_session_races.py",
    "tests/simulation/test_cancellation.py",
    "tests/stateful/test_tiered_model.py",
    "tests/simulation/test_simulation.py",
)
"""What is fast and needs no server; the most exact tests first, so that the first to fail says most."""


def main() -> int:
    if (broken := _first_failure(ROOT / "src")) is not None:
        print(f"the suite fails without any planted bug: {broken}")
        return 1
    survivors = 0
    for mutant in MUTANTS:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "src"
            shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
            verdict = _planted(mutant, source / "edgememory") or _judged(mutant, source)
        survivors += not verdict.startswith("killed")
        print(verdict, flush=True)
    return survivors > 0


def _planted(mutant: Mutant, package: Path) -> str | None:
    """Plant it, or say why that cannot be done."""
    path = package / mutant.path
    text = path.read_text()
    if text.count(mutant.old) != 1:
        return f"CANNOT PLANT {mutant.name}: its place stands {text.count(mutant.old)} times in {mutant.path}"
    path.write_text(text.replace(mutant.old, mutant.new))
    return None


def _judged(mutant: Mutant, source: Path) -> str:
    killer = _first_failure(source)
    return f"SURVIVED {mutant.name}" if killer is None else f"killed {mutant.name} by {killer}"


def _first_failure(source: Path) -> str | None:
    """Run the suite against *source*; return the first test that fails."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(source), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HYPOTHESIS_PROFILE": "quick",
    }
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout=60", "-p", "no:cacheprovider", "-o", "addopts="]
    ended = subprocess.run(
        [*pytest, "--import-mode=importlib", "--tb=no", "-rfE", *SUITE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if ended.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE)
    if failed is None:
        raise RuntimeError(f"pytest did not run: {ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    return failed[1]


if __name__ == "__main__":
    sys.exit(main())
