"""`python -m benchmarks`: measure, print tables, leave build/bench.json. What counts is the ratio: machines differ."""

import argparse
import asyncio
import gc
import inspect
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import (
    deep,
    delivery,
    growth,
    host_store,
    hot_read,
    local_recall,
    outbox,
    postgres,
    process_memory,
    pure,
    redis_store,
    sessions,
    starting,
    upstash_store,
    workers_store,
)
from benchmarks.measure import Result
from benchmarks.report import WIDTH, report, save, show

PATH = Path("build/bench.json")
Subject = Callable[[], AsyncIterator[Result]]
SUBJECTS: Mapping[str, Subject] = {
    "hot_read": hot_read.measured,
    "starting": starting.measured,
    "pure": pure.measured,
    "process_memory": process_memory.measured,
    "outbox": outbox.measured,
    "sessions": sessions.measured,
    "host_store": host_store.measured,
    "redis_store": redis_store.measured,
    "upstash_store": upstash_store.measured,
    "workers_store": workers_store.measured,
    "postgres": postgres.measured,
    "delivery": delivery.measured,
    "growth": growth.measured,
    "local_recall": local_recall.measured,
    "deep": deep.measured,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help="measure only these")
    parser.add_argument("--list", action="store_true", help="list the subjects, and measure nothing")
    parser.add_argument(
        "--messages", type=int, default=100_000, help="how many are in the table that deep searches: %(default)s"
    )
    arguments = parser.parse_args()
    names: Sequence[str] = arguments.subjects or tuple(SUBJECTS)
    if unknown := sorted(set(names) - SUBJECTS.keys()):
        parser.error(f"there is no {', '.join(unknown)}: there are {', '.join(SUBJECTS)}")
    if arguments.list:
        for name, subject in SUBJECTS.items():
            print(f"{name:<15} {_title(subject)}")
        return
    subjects = {**SUBJECTS, "deep": partial(deep.measured, messages=arguments.messages)}
    measure({name: subjects[name] for name in names}, Console() if Console().is_terminal else Console(width=WIDTH))


def measure(subjects: Mapping[str, Subject], console: Console) -> None:
    load_before = os.getloadavg()
    results: dict[str, Sequence[Result]] = {}
    for name, subject in subjects.items():
        results[name] = asyncio.run(_all(subject))
        show(f"{name}: {_title(SUBJECTS[name])}", results[name], console)
    save(report(results, load_before=load_before), PATH)
    console.print(
        "Medians of rounds in which both took turns. The ratio is that of their costs; in half of the rounds\n"
        f"it lay within the range beside it. Load before: {load_before[0]:.2f}. The numbers are in {PATH}.",
        highlight=False,
    )


async def _all(subject: Subject) -> list[Result]:
    # What was loaded at start is not to be looked through by the garbage collector while something is measured.
    gc.collect()
    gc.freeze()
    return [each async for each in subject()]


def _title(subject: Subject) -> str:
    return (inspect.getdoc(inspect.getmodule(subject)) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
