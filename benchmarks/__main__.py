"""Run all benchmarks, print a table, leave build/bench.json. What counts is the ratio: machines differ."""

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import cache, reading, starting, writing

REPORT = Path("build/bench.json")
TARGETS: Mapping[Callable[[], object], float] = {
    reading.hot_read_beside_a_dict: 4.0,
    reading.hot_read_beside_async_lru: 1 / 1.3,
    cache.redis_get: 1.5,
}
"""Ratios that must not be exceeded."""
LIMITS_US: Mapping[Callable[[], object], float] = {starting.importing: 150_000.0}
"""The same in microseconds."""


def main() -> None:
    console = Console(width=None if Console().is_terminal else 110)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what / beside what")
    for column in ("µs", "beside", "ratio", "at most"):
        table.add_column(column, justify="right")
    table.add_column("")
    report: list[dict[str, object]] = []
    for benchmark in (*reading.BENCHMARKS, *starting.BENCHMARKS, *cache.BENCHMARKS, *writing.BENCHMARKS):
        measured = benchmark()
        value, yardstick, ratio = (float(measured[key]) for key in ("value_us", "yardstick_us", "ratio"))
        target, limit = TARGETS.get(benchmark), LIMITS_US.get(benchmark)
        bounded = target is not None or limit is not None
        met = (target is None or ratio <= target) and (limit is None or value <= limit)
        report.append({**measured, "ratio_at_most": target, "us_at_most": limit, "met": met if bounded else None})
        at_most = f"{target:.2f}" if target is not None else f"{limit:,.0f} µs" if limit is not None else ""
        verdict = "" if not bounded else "met" if met else "MISSED"
        table.add_row(str(measured["name"]), f"{value:,.2f}", f"{yardstick:,.2f}", f"{ratio:.2f}", at_most, verdict)
    console.print(table)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_bytes(msgspec.json.format(msgspec.json.encode({"benchmarks": report})) + b"\n")
    console.print(f"the numbers are in {REPORT}", highlight=False)


if __name__ == "__main__":
    main()
