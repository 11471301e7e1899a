"""The table that other pages show."""

from edgememory.lab.markdown import table
from tests.lab_report import made_up_report


def test_each_scenario_has_a_row_and_each_region_a_column() -> None:
    report = made_up_report()
    head, rule, *rows = table(report).splitlines()
    labels = [report.places[region.caller].label for region in report.regions.values()]
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["p50 / p99, ms", *labels, "what it is"]
    assert {row.count("|") for row in (head, rule, *rows)} == {len(labels) + 3}
    names = [row.split("|")[1].strip(" `") for row in rows]
    assert names[: -2 - 4] == list(report.open_ms["san_francisco"])
    assert names[-2 - 4 :] == ["leaving"] * 2 + [
        f"echo: the {far}" for far in ("caller", "region's cache", "replica", "database")
    ]


def test_a_cell_is_what_was_measured_and_empty_where_nothing_was() -> None:
    report = made_up_report()
    cells = {row.split("|")[1].strip(" `"): row.split("|")[2:-2] for row in table(report).splitlines()[2:]}
    shown = dict(zip(report.regions, (cell.strip() for cell in cells["replica"]), strict=True))
    assert shown["london"] == ""
    waited = report.open_ms["tokyo"]["replica"]
    p50, p99 = (float(number.replace(",", "")) for number in shown["tokyo"].split(" / "))
    assert abs(p50 - waited.p50) <= 0.5
    assert abs(p99 - waited.p99) <= 0.5
