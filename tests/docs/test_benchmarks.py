"""The page about the benchmarks names what there is."""

import re

from benchmarks.__main__ import SUBJECTS
from tests.docs.fences import ROOT


def test_the_page_lists_every_subject_in_order() -> None:
    page = (ROOT / "docs/explanation/benchmarks.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(SUBJECTS)
