"""What DESIGN.md says of the promises is what they say, and names every check."""

import re
from itertools import islice

import pytest

from edgememory.testing.promises import PROMISES
from tests.docs.fences import ROOT

SECTION = (ROOT / "DESIGN.md").read_text(encoding="utf-8").split("## What is promised and how it is checked")[1]
EIGHT = list(islice(PROMISES, 8))


def _of(page: str, number: int) -> str:
    """Return what stands under the promise's heading, of level 2 or 3."""
    found = re.search(rf"^###? {number}\. [^\n]*\n(.*?)(?=^###? )", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def _words(text: str) -> str:
    return " ".join(text.split()).rstrip(":.")


@pytest.mark.parametrize("number", range(1, 9))
def test_the_wording_is_that_of_the_promises(number: int) -> None:
    page = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    promised = _of(page, number).strip().split("\n\n")[0]
    quoted = " ".join(line.removeprefix("> ") for line in _of(SECTION, number).splitlines() if line.startswith("> "))
    assert _words(quoted) == _words(promised)


@pytest.mark.parametrize(("number", "promise"), [*enumerate(EIGHT, 1)])
def test_each_names_its_checks(number: int, promise: str) -> None:
    assert {check.__name__ for check in PROMISES[promise]} <= set(re.findall(r"`(\w+)`", _of(SECTION, number)))


def test_no_check_is_left_out() -> None:
    assert {check.__name__ for checks in PROMISES.values() for check in checks} <= set(re.findall(r"`(\w+)`", SECTION))
