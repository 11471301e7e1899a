"""The benchmark of recall judges by what was said when, be it the same as before."""

from datetime import UTC, datetime

import pytest

from benchmarks.conversations import Question, Talk, Turn
from benchmarks.recall import measured

AT = datetime(2023, 5, 8, tzinfo=UTC)


@pytest.mark.anyio
@pytest.mark.parametrize("evidence", ["D1:1", "D1:2"])
async def test_of_what_is_said_twice_each_is_evidence_of_its_own(evidence: str) -> None:
    turns = tuple(Turn(id, "session_1", "user", "Ann: I have a dog", AT) for id in ("D1:1", "D1:2"))
    question = Question("Who has a dog?", "single-hop", frozenset((evidence,)), frozenset(("session_1",)))
    report = await measured([Talk(turns, (question,))])
    assert (report["recall"], report["n"]) == ({"5": 1.0, "10": 1.0, "20": 1.0}, 1)
