"""`python -m tests.simulation --seeds 1000`, or `--seed 42` to replay one."""

import argparse
import sys
import time

from tests.simulation.checks import violations
from tests.simulation.run import simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay one seed and print its history")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        history = simulate(arguments.seed)
        for event in history.events:
            print(event)
        found = violations(history)
        print(*found, sep="\n")
        return bool(found)
    failed = 0
    began = time.monotonic()
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        for what in violations(simulate(seed))[:3]:
            failed += 1
            print(f"seed {seed}: {what[:1200]}\n  replay: python -m tests.simulation --seed {seed}")
    took = time.monotonic() - began
    print(f"{arguments.seeds} seeds in {took:.1f} s ({arguments.seeds / took * 60:.0f} a minute), {failed} violations")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
