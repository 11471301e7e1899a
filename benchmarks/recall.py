"""Evidence recall of `EdgeMemory.search`: `python -m benchmarks.recall --data FILE [--json OUT]`."""

import argparse
import asyncio
import math
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, quantiles

if not __package__:  # run by its path: then Python looks for modules beside it only
    sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.conversations import Question, Talk, read
from edgememory import EdgeMemory
from edgememory.recall.query import Match

CUTS = (5, 10, 20)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recall", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="LoCoMo's or LongMemEval's JSON")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    arguments = parser.parse_args()
    talks = read(arguments.data)
    if not any(talk.questions for talk in talks):
        parser.error(f"{arguments.data} holds no question whose evidence is in its conversation")
    report = asyncio.run(measured(talks))
    _show(report)
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


async def measured(talks: Sequence[Talk]) -> dict[str, object]:
    """Tell each talk to a memory of its own user, ask, and count which evidence is among the first matches."""
    turns: dict[str, list[list[float]]] = defaultdict(list)
    sessions: list[list[float]] = []
    took: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with EdgeMemory.embedded(folder) as memory:
            for number, talk in enumerate(talks):
                user = f"user-{number}"
                ids = await _tell(memory, user, talk)
                for question in talk.questions:
                    began = time.perf_counter()
                    matches = await memory.search(user, question.text, limit=max(CUTS))
                    took.append((time.perf_counter() - began) * 1000)
                    found = [ids[match.id] for match in matches]
                    sessions.append([_share(question.sessions, [m.session_id for m in matches[:k]]) for k in CUTS])
                    turns[question.kind].append(_recall(question, found, matches))
    every = [each for found in turns.values() for each in found]
    cuts = quantiles(took * 2, n=100, method="inclusive")  # of one question, too
    return {
        "recall": _means(every),
        "by_type": {kind: {**_means(found), "n": len(found)} for kind, found in sorted(turns.items())},
        "by_session": _means(sessions),
        "n": len(every),
        "ms": {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)},
    }


def _recall(question: Question, found: Sequence[str], matches: Sequence[Match]) -> list[float]:
    """Judge by turns, or by sessions where the data does not say which turns."""
    if question.turns:
        return [_share(question.turns, found[:cut]) for cut in CUTS]
    return [_share(question.sessions, [match.session_id for match in matches[:cut]]) for cut in CUTS]


def _share(evidence: frozenset[str], found: Sequence[str | None]) -> float:
    return len(evidence & set(found)) / len(evidence)


def _means(found: Sequence[Sequence[float]]) -> dict[str, float]:
    return {str(cut): round(mean(column), 4) for cut, column in zip(CUTS, zip(*found, strict=True), strict=True)}


async def _tell(memory: EdgeMemory, user: str, talk: Talk) -> dict[str, str]:
    """Have it said, and return the id of each turn by that of its message: the same may be said twice."""
    ids: dict[str, str] = {}
    by_session: dict[str, list[int]] = defaultdict(list)
    for place, turn in enumerate(talk.turns):
        by_session[turn.session].append(place)
    for name, places in by_session.items():
        async with memory.session(user, session_id=name, extract=False, timeout=math.inf) as session:
            for place in places:
                turn = talk.turns[place]
                session.add_message(turn.role, turn.text, at=turn.at)
                ids[session.snapshot.messages[-1].id] = turn.id
            await session.committed()
    return ids


def _show(report: dict[str, object]) -> None:
    table = Table("", *(f"at {cut}" for cut in CUTS), "questions")
    rows = {"all": {**_dict(report["recall"]), "n": report["n"]}, **_dict(report["by_type"])}
    for name, row in rows.items():
        values = _dict(row)
        table.add_row(name, *(f"{values[str(cut)]:.3f}" for cut in CUTS), str(values["n"]))
    by_session = _dict(report["by_session"])
    table.add_row("by session", *(f"{by_session[str(cut)]:.3f}" for cut in CUTS), str(report["n"]))
    console = Console()
    console.print(table)
    console.print(f"milliseconds a search: {report['ms']}", highlight=False)


def _dict(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


if __name__ == "__main__":
    main()
