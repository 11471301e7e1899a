"""`python -m tests.mutants`: plant each bug in a copy of the source, and see what catches it."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.planted import PLANTED

ROOT = Path(__file__).resolve().parents[2]
SUITE = (
    "tests/unit/test_background.py",
    "tests/unit/test_breaker.py",
    "tests/unit/test_floors.py",
    "tests/unit/test_freshness.py",
    "tests/unit/test_view.py",
    "tests/unit/test_tier.py",
    "tests/unit/test_single_flight.py",
    "tests/unit/test_writer.py",
    "tests/unit/test_delivery.py",
    "tests/unit/test_outbox_requests.py",
    "tests/unit/test_session.py",
    "tests/unit/test_input.py",
    "tests/unit/test_opening.py",
    "tests/unit/test_session_outages.py",
    "tests/unit/test_deletion.py",
    "tests/contract/test_memory_outbox.py",
    "tests/stateful/test_apply_model.py",
    "tests/stateful/test_tiered_races.py",
    "tests/stateful/test_tiered_time.py",
    "tests/simulation/test_session_races.py",
    "tests/simulation/test_cancellation.py",
    "tests/stateful/test_tiered_model.py",
)
"""What is fast and needs no server, the most exact tests first: the first to fail says most."""
WORLDS = 60
"""How many simulated worlds a bug is looked for in."""
LONGEST = 240.0
AT_ONCE = os.cpu_count() or 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only the bugs whose name holds this")
    wanted = parser.parse_args().name
    if (broken := _first_failure(ROOT / "src", SUITE) or _broken_promise(ROOT / "src")) is not None:
        print(f"it fails without any planted bug: {broken}")
        return 1
    planted = survivors = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for promise, mutants in PLANTED.items():
            print(promise, flush=True)
            chosen = [mutant for mutant in mutants if wanted in mutant.name]
            for mutant, killers in zip(chosen, pool.map(_killers, chosen), strict=True):
                planted += 1
                survivors += not killers
                print(f"  {mutant.name}: {'; '.join(killers) or 'SURVIVED'}", flush=True)
    print(f"{survivors} of {planted} survived")
    return survivors > 0


def _killers(mutant: Mutant) -> list[str]:
    """Return the first test that fails, and the check that a simulated world breaks."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        _plant(mutant, source / "edgememory")
        found = [_first_failure(source, mutant.suite or SUITE), None if mutant.suite else _broken_promise(source)]
    return [killer for killer in found if killer is not None]


def _plant(mutant: Mutant, package: Path) -> None:
    path = package / mutant.path
    text = path.read_text()
    if (times := text.count(mutant.old)) != 1:
        raise RuntimeError(f"cannot plant {mutant.name!r}: its place stands {times} times in {mutant.path}")
    path.write_text(text.replace(mutant.old, mutant.new))


def _first_failure(source: Path, suite: tuple[str, ...]) -> str | None:
    """Run *suite* against *source*; return the first test that fails."""
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "--timeout=20", "-p", "no:cacheprovider", "-o", "addopts="]
    said = _run([*pytest, "--import-mode=importlib", "--tb=no", "-rfE", "--hypothesis-profile=quick", *suite], source)
    if said is None:
        return "the tests never end"
    if re.search(r"^\d+ passed", said.splitlines()[-1]):
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    if failed is None:
        raise RuntimeError(f"pytest did not run: {said[-2000:]}")
    return failed[1]


def _broken_promise(source: Path) -> str | None:
    """Run simulated worlds against *source*; return the first check that fails, and the seed of its world."""
    said = _run([sys.executable, "-m", "tests.simulation", "--seeds", str(WORLDS), "--jobs", "1", "--stop"], source)
    if said is None:
        return "a world that never ends"
    failed = re.findall(r"^seed (\d+): (\w+)", said, re.MULTILINE)
    if failed:
        return f"{', '.join(check for _, check in failed)} in world {failed[0][0]}"
    errors: list[str] = re.findall(r"\b\w+Error\b", said)
    return None if " 0 broke " in said else f"a world that breaks down: {errors[-1]}"


def _run(command: list[str], source: Path) -> str | None:
    """Return what *command* printed, or `None` if it had to be stopped."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(source), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(timeout=LONGEST)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None


if __name__ == "__main__":
    sys.exit(main())
