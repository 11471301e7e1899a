"""Each bug can still be planted: one whose place is gone would prove nothing, until somebody looks."""

from pathlib import Path

import pytest

import edgememory
from edgememory.testing.promises import PROMISES
from tests.mutants.mutant import Mutant
from tests.mutants.planted import PLANTED

PACKAGE = Path(edgememory.__file__).parent
ALL = [mutant for mutants in PLANTED.values() for mutant in mutants]


@pytest.mark.parametrize("mutant", ALL, ids=lambda mutant: mutant.name)
def test_its_place_is_there_once(mutant: Mutant) -> None:
    assert (PACKAGE / mutant.path).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new


def test_each_promise_has_two_at_least() -> None:
    assert PLANTED.keys() >= PROMISES.keys()
    assert min(map(len, PLANTED.values())) >= 2
    assert len(ALL) >= 30
    assert len({mutant.name for mutant in ALL}) == len(ALL)
