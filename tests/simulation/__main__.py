"""`python -m tests.simulation --seeds 1000`, or `--seed 42` to replay one."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence

from edgememory.testing.promises import violations
from tests.simulation.run import REPLAY, all_broken_in, simulate

EVERY = 1_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one seed and print its history")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many worlds at a time")
    parser.add_argument("--stop", action="store_true", help="stop at the first world that breaks a promise")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        history = simulate(arguments.seed)
        for event in history.events:
            print(event)
        found = violations(history)
        print(*found, sep="\n")
        return bool(found)
    return _run(range(arguments.first, arguments.first + arguments.seeds), arguments.jobs, stops=arguments.stop)


def _run(seeds: Sequence[int], jobs: int, *, stops: bool) -> int:
    failed = 0
    began = time.monotonic()
    for seed, found in zip(seeds, all_broken_in(seeds, jobs), strict=True):
        failed += bool(found)
        for what in _one_of_each_check(found):
            print(f"seed {seed}: {what[:1200]}\n  replay: {REPLAY} {seed}", flush=True)
        if stops and failed:
            return 1
        if (done := seed - seeds[0] + 1) % EVERY == 0:
            print(f"{done:,} of {len(seeds):,} worlds, {failed} broke a promise", flush=True)
    took = time.monotonic() - began
    print(f"{len(seeds):,} worlds in {took:.0f} s ({len(seeds) / took * 60:.0f} a minute), {failed} broke a promise")
    return failed > 0


def _one_of_each_check(found: Sequence[str]) -> Iterable[str]:
    by_check: dict[str, str] = {}
    for what in found:
        by_check.setdefault(what.partition(":")[0], what)
    return by_check.values()


if __name__ == "__main__":
    sys.exit(main())
