"""The report as tables, readable at 100 columns, and as plain text where there is no terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from edgememory.lab.conclusions import BUDGET
from edgememory.lab.report import Report, Waits
from edgememory.lab.words import WORDS

_SHOWN_FAILURES = 10


def show(report: Report, console: Console) -> None:
    """Print what callers waited for, region by region, then the promises and the conclusions."""
    for region in report.regions:
        console.print(_table(report, region))
    console.print(_beneath(report))
    for judgement in report.judgements:
        sign, style = ("kept  ", "green") if judgement.kept else ("MISSED", "bold red")
        console.print(f"[{style}]{sign}[/]  {judgement.promise:<58}  {judgement.measured}", highlight=False)
    console.print()
    for conclusion in report.conclusions:
        console.print(f"[bold]{conclusion.claim}: {conclusion.verdict}.[/] {conclusion.found}", highlight=False)
    _failures(report.failures, console)


def _table(report: Report, name: str) -> Table:
    region, label = report.regions[name], {place: spot.label for place, spot in report.places.items()}
    title = (
        f"{label[region.caller]}: agent in {label[region.agent]} ({', '.join(region.hosts)}), {region.user_ms:g} ms"
        f" from the caller, {region.origin_ms:g} ms from {label[report.origin]}"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("memory, ms")
    for column in ("p50", "p99", "total", f"of {BUDGET:g}", "n"):
        table.add_column(column, justify="right")
    table.add_column("what it is")
    for scenario, waited in report.open_ms[name].items():
        total = report.total_ms[name][scenario].p50
        numbers = (_ms(waited.p50), _ms(waited.p99), _ms(total), f"{BUDGET - total:.0f}", str(waited.n))
        table.add_row(scenario, *numbers, WORDS[scenario])
    table.add_section()
    for state, waited in report.leave_ms.get(name, {}).items():
        table.add_row(f"leave_{state}", *_both(waited), "", "", str(waited.n), WORDS[f"leave_{state}"])
    table.add_section()
    for link, echo in report.echo_ms.items():
        if link.startswith(f"{name}-"):
            far = link.removeprefix(f"{name}-")
            table.add_row(f"echo_{far}", _ms(echo.p50), _ms(echo.p99), "", "", "", "a bare TCP echo over the same link")
    return table


def _both(waited: Waits) -> tuple[str, str]:
    return _ms(waited.p50), _ms(waited.p99)


def _beneath(report: Report) -> str:
    disk, bare = report.disk_ms, report.bare_get_ms
    worker = (
        f"a plain GET of the Worker, without a link: {_ms(bare.p50)} ms p50, {_ms(bare.p99)} ms p99\n" if bare else ""
    )
    return (
        "total: with the way from the caller, at the median; "
        f"of {BUDGET:g}: what that leaves of a response in {BUDGET:g} ms.\n"
        f"one write until it is on the disk: {_ms(disk.p50)} ms p50, {_ms(disk.p99)} ms p99\n{worker}"
    )


def _failures(failures: Sequence[str], console: Console) -> None:
    for failure in failures[:_SHOWN_FAILURES]:
        console.print(f"[bold red]FAILED[/]  {failure}", highlight=False)
    if len(failures) > _SHOWN_FAILURES:
        console.print(f"[bold red]FAILED[/]  and {len(failures) - _SHOWN_FAILURES} more", highlight=False)


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if abs(milliseconds) < 1 else f"{milliseconds:.1f}"
