"""The report as one table in Markdown, for other pages."""

from collections.abc import Iterator, Mapping, Sequence

from edgememory.lab.report import EchoWaits, Report, Waits
from edgememory.lab.words import WORDS

_ECHOES: Mapping[str, str] = {
    "user": "echo: the caller",
    "edge": "echo: the region's cache",
    "replica": "echo: the replica",
    "geneva": "echo: the database",
}

_Cells = Mapping[str, Mapping[str, Waits | EchoWaits]]
"""By region and row."""


def table(report: Report) -> str:
    """Return what callers waited for: a row for each scenario, and for each region p50 and p99 in milliseconds."""
    return "\n".join(_rows(report)) + "\n"


def _rows(report: Report) -> Iterator[str]:
    yield _row(
        "p50 / p99, ms", [report.places[region.caller].label for region in report.regions.values()], "what it is"
    )
    yield "|---|" + "---:|" * len(report.regions) + "---|"
    for scenario in dict.fromkeys(name for by in report.open_ms.values() for name in by):
        yield _row(f"`{scenario}`", _cells(report, report.open_ms, scenario), WORDS[scenario])
    for state in ("up", "down"):
        yield _row("leaving", _cells(report, report.leave_ms, state), WORDS[f"leave_{state}"].partition(": ")[2])
    echoes: _Cells = {
        name: {far: report.echo_ms[link] for far in _ECHOES if (link := f"{name}-{far}") in report.echo_ms}
        for name in report.regions
    }
    for far, words in _ECHOES.items():
        yield _row(words, _cells(report, echoes, far), "a bare TCP echo over the same link")


def _cells(report: Report, measured: _Cells, row: str) -> Sequence[str]:
    found = [measured.get(region, {}).get(row) for region in report.regions]
    return ["" if waited is None else f"{_ms(waited.p50)} / {_ms(waited.p99)}" for waited in found]


def _row(name: str, cells: Sequence[str], words: str) -> str:
    return " | ".join(("| " + name, *cells, words + " |"))


def _ms(milliseconds: float) -> str:
    return (
        f"{milliseconds:.2f}"
        if milliseconds < 1
        else f"{milliseconds:.1f}"
        if milliseconds < 10
        else f"{milliseconds:,.0f}"
    )
