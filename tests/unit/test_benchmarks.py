"""The harness of the benchmarks: what it is told, it compares and judges rightly."""

import json
import time
from pathlib import Path

import pytest

from benchmarks.conversations import read
from benchmarks.measure import Round, in_turns, percentile, result


@pytest.mark.parametrize(("limit", "met"), [(2.0, True), (1.9, False), (None, None)])
def test_a_target_is_judged_by_the_median_of_the_rounds_ratios(limit: float | None, met: bool | None) -> None:
    judged = result("a", [1.0, 4.0, 90.0], [1.0, 2.0, 3.0], beside="b", unit="ms", ratio_at_most=limit)
    assert (judged.ratio.median, judged.met) == (2.0, met)


def test_a_limit_is_in_the_unit_that_is_shown() -> None:
    limits = (100.0, 99.0)
    judged = [result("a", [0.1] * 3, [0.1] * 3, beside="b", unit="ms", ours_at_most=limit).met for limit in limits]
    assert judged == [True, False]


def test_a_ratio_of_rates_is_that_of_their_costs() -> None:
    rates = result("a", [0.2] * 3, [0.1] * 3, beside="b", unit="commits/s")
    assert (rates.ours.median, rates.yardstick.median, rates.ratio.median) == (5.0, 10.0, 2.0)


async def test_ways_take_turns_at_being_first_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def way(name: str) -> Round:
        async def once() -> float:
            order.append(name)
            return float(len(order))

        return once

    costs = await in_turns({"a": way("a"), "b": way("b")}, rounds=2)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert costs == {"a": [4.0, 5.0], "b": [3.0, 6.0]}


@pytest.mark.parametrize(("percent", "cost"), [(50, 1.0), (98, 1.0), (99, 50.0)])
async def test_a_percentile_is_of_the_single_calls_of_a_round(
    percent: int, cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, costs = 0.0, iter([*[1.0] * 49, 50.0, 100.0, *[1.0] * 50])

    async def call() -> None:
        nonlocal clock
        clock += next(costs)

    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    assert await percentile(percent, call, number=101)() == cost


LOCOMO = {
    "speaker_a": "Ann",
    "session_2_date_time": "never",
    "session_2": [{"speaker": "Ann", "dia_id": "", "text": "Here he is", "blip_caption": "a dog"}],
    "session_1_date_time": "1:56 pm on 8 May, 2023",
    "session_1": [
        {"speaker": name, "dia_id": f"D1:{place}", "text": "Hi"} for place, name in enumerate(("Ann", "Bob"), 1)
    ],
}


@pytest.mark.parametrize(
    ("evidence", "turns"),
    [
        (["D1:1"], {"D1:1"}),
        (["D1:1; D:2:01", "D"], {"D1:1", "D2:1"}),
        ("D1:1;D1:2", {"D1:1", "D1:2"}),
        (["D1:1", "D9:9"], {"D1:1"}),
    ],
)
@pytest.mark.parametrize(("category", "kind"), [(1, "multi-hop"), ("4", "single-hop"), (6, "6"), (None, "None")])
def test_locomos_evidence_is_understood_however_its_ids_are_written(
    evidence: object, turns: set[str], category: object, kind: str, tmp_path: Path
) -> None:
    unanswerable = {"question": "Who?", "evidence": ["D1:1"], "category": 5}
    without = [{"question": "Who?", "evidence": none, "category": 1} for none in (None, [], ["D"])]
    asked = {"question": "What?", "evidence": evidence, "category": category}
    (tmp_path / "data").write_text(json.dumps({"conversation": LOCOMO, "qa": [unanswerable, *without, asked]}))
    (talk,) = read(tmp_path / "data")
    assert [turn.text for turn in talk.turns] == ["Ann: Hi", "Bob: Hi", "Ann: Here he is [shows: a dog]"]
    (question,) = talk.questions
    assert (question.kind, question.turns) == (kind, turns)
