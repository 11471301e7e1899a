"""The results as tables of 100 columns, and as JSON."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Result

WIDTH = 100


class Report(Struct, frozen=True, kw_only=True):
    """What a run has measured, by subject, and on what."""

    at: datetime
    python: str
    platform: str
    processors: int | None
    load_before: tuple[float, float, float]
    """How many processes wanted a processor in the last 1, 5 and 15 minutes: many spoil the numbers."""
    results: Mapping[str, Sequence[Result]]


def report(results: Mapping[str, Sequence[Result]], *, load_before: tuple[float, float, float]) -> Report:
    return Report(
        at=datetime.now(UTC),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.machine()}",
        processors=os.cpu_count(),
        load_before=load_before,
        results=results,
    )


def save(taken: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(taken)) + b"\n")


def show(title: str, results: Sequence[Result], console: Console) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
    table.add_column("", width=44)
    for column, width in (("ours", 15), ("beside", 8), ("ratio", 6), ("half lie in", 12), ("at most", 7)):
        table.add_column(column, justify="right", width=width, no_wrap=True)
    for each in results:
        name = f"{each.name}\n[dim]beside {each.beside}[/]" + (f"\n[dim]{each.note}[/]" if each.note else "")
        ratio, among = f"{each.ratio.median:.2f}", f"{each.ratio.low:.2f}-{each.ratio.high:.2f}"
        ours, beside = f"{_number(each.ours.median)} {each.unit}", _number(each.yardstick.median)
        table.add_row(name, ours, beside, ratio, among, _target(each))
    console.print(table)


def _number(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"


def _target(each: Result) -> str:
    if each.met is None:
        return ""
    limit = f"{each.ratio_at_most:.2f}" if each.ratio_at_most is not None else f"{each.ours_at_most:g} {each.unit}"
    return f"{limit}\n" + ("[green]met[/]" if each.met else "[bold red]MISSED[/]")
