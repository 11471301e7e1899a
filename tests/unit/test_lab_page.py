"""The lab's page: what it says is what the report says, and it needs nothing else."""

import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from edgememory.lab.page import picture, render
from edgememory.lab.report import Judgement, Report, Spot
from edgememory.lab.words import WORDS
from tests.lab_report import made_up_report, only

_VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """Reads a page; refuses elements that are closed by another."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += f"{data} "

    def values(self, attribute: str) -> Iterator[str]:
        for _, attributes in self.elements:
            value = attributes.get(attribute)
            if value is not None:
                yield value

    def tables_of(self, first_header: str) -> list[list[list[str]]]:
        return [table for table in self.tables if table[0][0].strip() == first_header]


def number(cell: str) -> float:
    return float(cell.replace(",", "").replace("\N{MINUS SIGN}", "-").split()[0])


def parts(report: Report) -> dict[str, Report]:
    """What may be missing from a report."""
    return {
        "all of it": report,
        "one region without a replica": only(report, regions=("london",), scenarios=tuple(WORDS)),
        "one scenario": only(report, regions=("tokyo", "london"), scenarios=("cold",)),
        "no timeline": replace(report, timeline=None, requests={}),
        "failures": replace(report, failures=tuple(f"call {number} & more" for number in range(30))),
    }


@pytest.fixture(params=parts(made_up_report()).values(), ids=parts(made_up_report()).keys())
def report(request: pytest.FixtureRequest) -> Report:
    assert isinstance(request.param, Report)
    return request.param


def test_the_page_is_well_formed_and_needs_nothing_from_outside(report: Report) -> None:
    text = render(report)
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.elements}
    assert not re.search(r"url\(|@import|https?:", text)
    assert all(target.startswith("#") for target in (*page.values("src"), *page.values("href")))


def test_everything_that_refers_to_a_part_of_the_page_finds_it(report: Report) -> None:
    page = Page(render(report))
    ids = list(page.values("id"))
    assert len(ids) == len(set(ids))
    named = [name for value in page.values("aria-labelledby") for name in value.split()]
    assert {*named, *(target.removeprefix("#") for target in page.values("href"))} <= set(ids)


def test_figures_and_tables_can_be_read_aloud(report: Report) -> None:
    page = Page(render(report))
    assert all(attributes.get("aria-labelledby") for _, attributes in page.elements if attributes.get("role") == "img")
    assert sum(attributes.get("role") == "img" for _, attributes in page.elements) > len(report.regions)
    assert all(attributes.get("scope") for tag, attributes in page.elements if tag == "th")


def test_the_tables_say_what_the_report_says(report: Report) -> None:
    tables = Page(render(report)).tables_of("scenario")
    assert len(tables) == len(report.regions)
    for name, (_, _, *rows) in zip(report.regions, tables, strict=True):
        shown = {row[0].split()[0]: row[1:] for row in rows}
        assert list(shown) == list(report.open_ms[name])
        for scenario, cells in shown.items():
            memory, total = report.open_ms[name][scenario], report.total_ms[name][scenario]
            expected = [memory.p50, memory.p99, total.p50, total.p99]
            assert [number(cell) for cell in cells[:4]] == pytest.approx(expected, abs=0.051)
            assert number(cells[4]) == pytest.approx(100 - total.p50, abs=0.51)
            if scenario in ("edge", "warm", "stale", "callback", "replica", "cold"):
                claimed = 180 if scenario == "cold" else 30
                about = 1.1 if scenario == "cold" else 1.0
                over = ">" if 20 + memory.p50 > about * claimed else "≈" if 20 + memory.p50 > claimed else "≤"
                assert number(cells[5]) == pytest.approx(20 + memory.p50, abs=0.051)
                assert cells[5].split()[1:] == [over, str(claimed)]
            else:
                assert cells[5].strip() == ""


def test_what_else_was_measured_is_shown() -> None:
    report = made_up_report()
    beside = Page(render(report)).tables_of("what")[1]
    shown = {row[0].split()[0]: [number(cell) for cell in row[1:]] for row in beside[1:]}
    newest, echo = report.newest_ms["new_york"]["travel"], report.echo_ms["new_york-geneva"]
    assert shown["travel"] == pytest.approx([newest.p50, newest.p99], abs=0.051)
    assert shown["echo_geneva"] == pytest.approx([echo.p50, echo.p99], abs=0.051)
    assert set(shown) == {"travel", "leave_up", "leave_down", "echo_user", "echo_edge", "echo_replica", "echo_geneva"}


def test_every_claim_and_every_promise_is_shown_with_its_verdict(report: Report) -> None:
    page = Page(render(report))
    verdicts = [words.strip() for words in re.findall(r'class="verdict \w+">([^<]+)<', render(report))]
    assert verdicts == [
        *(conclusion.verdict for conclusion in report.conclusions),
        *("kept" if judgement.kept else "MISSED" for judgement in report.judgements),
    ]
    assert all(conclusion.claim in page.words and conclusion.found in page.words for conclusion in report.conclusions)
    assert all(judgement.measured in page.words for judgement in report.judgements)


def test_what_a_call_asks_is_shown_by_service_and_phase() -> None:
    (table,) = Page(render(made_up_report())).tables_of("asked")
    shown = {row[0].strip(): [number(cell) for cell in row[1:]] for row in table[1:]}
    assert shown["Geneva"] == [0, 0, 2.01]
    assert shown["the region's cache"] == [1, 1, 2]


def test_what_was_lost_and_what_went_wrong_stands_out() -> None:
    report = replace(made_up_report(), lost=3, failures=tuple(f"call {number}" for number in range(12)))
    page = render(report)
    assert '<dt>of 17,643 messages lost</dt><dd class="bad">3</dd>' in page
    assert "<li>call 9</li>" in page
    assert "<li>and 2 more</li>" in page
    assert "Not as the scenarios mean it" not in render(made_up_report())


def test_what_was_not_measured_is_absent() -> None:
    headings = re.compile(r"<h2[^>]*>([^<]+)</h2>")
    report = made_up_report()
    whole = set(headings.findall(render(report)))
    assert whole - set(headings.findall(render(replace(report, timeline=None)))) == {"One call"}
    assert whole - set(headings.findall(render(replace(report, requests={})))) == {"What a call asks"}
    cold = only(report, regions=("london",), scenarios=("cold",))
    assert whole - set(headings.findall(render(cold))) == {"One call", "What a call asks", "At a glance"}
    assert "a replica</span>" not in render(cold)


def test_names_are_words_and_never_markup() -> None:
    report = made_up_report()
    evil = "<script>alert('&')</script>"
    region = replace(report.regions["tokyo"], hosts=(evil,))
    page = render(
        replace(
            report,
            world=evil,
            places=report.places | {"tokyo": Spot(evil, 0.0, 0.0), "geneva": Spot(evil, 10.0, 10.0)},
            regions=report.regions | {"tokyo": region},
            judgements=(Judgement(evil, evil, False),),
            failures=(evil,),
        )
    )
    assert "<script" not in page
    assert evil in Page(page).words
    drawn = picture(replace(report, places=report.places | {"tokyo": Spot(evil, 0.0, 0.0)}))
    assert any(element.text is not None and evil in element.text for element in ElementTree.fromstring(drawn).iter())


def test_the_picture_shows_each_region_and_needs_nothing_else() -> None:
    report = made_up_report()
    drawn = picture(report)
    words = " ".join("".join(element.itertext()) for element in ElementTree.fromstring(drawn).iter())
    for name, region in report.regions.items():
        assert report.places[region.caller].label in words
        assert f"{report.total_ms[name]['edge'].p50:.0f}" in words
    assert not re.search(r"url\(|@import|https?:|<script", drawn.replace("http://www.w3.org/2000/svg", ""))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_can_be_told_from_what_is_behind_them(scheme: int) -> None:
    colours = {
        name: (found[min(scheme, len(found) - 1)])
        for name, found in _by_name(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", render(made_up_report()))).items()
    }
    for ink, behind in itertools.product(("ink", "muted", "good", "half", "bad"), ("paper", "panel", "lane")):
        assert _contrast(colours[ink], colours[behind]) >= 4.5, (ink, behind)
    for bar in ("ours", "without", "way", "leave"):
        assert _contrast(colours[bar], colours["panel"]) >= 2.9, bar


def _by_name(pairs: list[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, colour in pairs:
        found.setdefault(name, []).append(colour)
    return found


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(_luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """As WCAG defines it."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
