"""The report as tables, readable at 100 columns, and as plain text where there is no terminal."""

from collections.abc import Iterable, Mapping

from rich import box
from rich.console import Console
from rich.table import Table

from edgememory.lab.report import Judgement, Run, Waits

_WORDS: Mapping[str, str] = {
    "direct_new_connection": "no memory layer: a new connection",
    "direct_pooled": "no memory layer: an open connection",
    "cold_new_process": "the same, and no connection is open",
    "cold": "no cache holds the user",
    "edge": "the region's cache holds the user",
    "warm": "warmed while the phone rang",
    "stale": "the region's entry is past its ttl",
    "callback": "calls again after 5 s, in a new process",
    "origin_down": "Geneva cannot be reached",
    "edge_down": "the region's cache hangs, not noticed yet",
    "edge_down_open": "the region's cache hangs, breaker open",
    "up": "leaving a call: Geneva is up",
    "down": "leaving a call: Geneva cannot be reached",
}


_SHOWN_FAILURES = 10


def show(run: Run, judgements: Iterable[Judgement], console: Console) -> None:
    report = run.report
    for region, scenarios in report.open_ms.items():
        title = f"{region}, {report.rtt_ms[region]:g} ms from Geneva: what callers wait for"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("scenario")
        for column in ("p50 ms", "p95 ms", "p99 ms", "n"):
            table.add_column(column, justify="right")
        table.add_column("what it is")
        for scenario in (name for name in _WORDS if name in scenarios):
            _add(table, scenario, scenarios[scenario])
        table.add_section()
        for state, waited in report.leave_ms[region].items():
            _add(table, state, waited)
        table.add_section()
        for link, echo in report.echo_ms.items():
            where = link.removeprefix(f"{region}-")
            table.add_row(f"echo_{where}", _ms(echo.p50), "", _ms(echo.p99), "", "a bare TCP echo over the same link")
        table.add_row("disk", _ms(run.disk.p50), "", _ms(run.disk.p99), "", "one write until it is on the disk")
        console.print(table)
    for judgement in judgements:
        sign, style = ("kept  ", "green") if judgement.kept else ("MISSED", "bold red")
        console.print(f"[{style}]{sign}[/]  {judgement.promise:<54}  {judgement.measured}", highlight=False)
    for failure in run.failures[:_SHOWN_FAILURES]:
        console.print(f"[bold red]FAILED[/]  {failure}", highlight=False)
    if len(run.failures) > _SHOWN_FAILURES:
        console.print(f"[bold red]FAILED[/]  and {len(run.failures) - _SHOWN_FAILURES} more", highlight=False)


def _add(table: Table, name: str, waited: Waits) -> None:
    label = f"leave_{name}" if name in ("up", "down") else name
    table.add_row(label, *map(_ms, (waited.p50, waited.p95, waited.p99)), str(waited.n), _WORDS[name])


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 1 else f"{milliseconds:.1f}"
