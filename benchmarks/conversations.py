"""Long conversations with questions and the turns that answer them: LoCoMo's files, and LongMemEval's."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

LOCOMO_KINDS = {"1": "multi-hop", "2": "temporal", "3": "open-domain", "4": "single-hop"}
UNANSWERABLE = "5"
"""The category of questions that have no answer in the conversation, hence no evidence."""
_EVIDENCE = re.compile(r"D:?(\d+):(\d+)")


class Turn(Struct, frozen=True):
    """What was said. `id` is unique in its conversation."""

    id: str
    session: str
    role: Literal["user", "assistant"]
    text: str
    at: datetime


class Question(Struct, frozen=True):
    """What is asked. Without *turns* the data says only in which sessions the answer stands."""

    text: str
    kind: str
    turns: frozenset[str]
    sessions: frozenset[str]


class Talk(Struct, frozen=True):
    """One user's conversations, oldest first, and the questions about them."""

    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


def read(path: Path) -> list[Talk]:
    """Read either format; a file may hold one sample or a list of them."""
    loaded: Any = msgspec.json.decode(path.read_bytes())
    samples = loaded if isinstance(loaded, list) else [loaded]
    return [_locomo(sample) if "conversation" in sample else _longmemeval(sample) for sample in samples]


def _locomo(sample: Mapping[str, Any]) -> Talk:
    turns = list(_locomo_turns(sample["conversation"]))
    known = {turn.id: turn.session for turn in turns}
    questions = []
    for asked in sample["qa"]:
        # Ids may be joined by `;`, and malformed: what is none of this conversation is no evidence.
        said = [f"D{int(a)}:{int(b)}" for a, b in _EVIDENCE.findall(str(asked.get("evidence")))]
        evidence = frozenset(id for id in said if id in known)
        category = str(asked.get("category", "none"))
        if category != UNANSWERABLE and evidence:
            sessions = frozenset(known[id] for id in evidence)
            questions.append(Question(asked["question"], LOCOMO_KINDS.get(category, category), evidence, sessions))
    return Talk(tuple(turns), tuple(questions))


def _locomo_turns(conversation: Mapping[str, Any]) -> Iterator[Turn]:
    numbers = sorted(int(name[8:]) for name in conversation if re.fullmatch(r"session_\d+", name))
    first = conversation.get("speaker_a")
    for number in numbers:
        session = f"session_{number}"
        at = _locomo_time(conversation.get(f"{session}_date_time", ""))
        for place, turn in enumerate(conversation[session], start=1):
            shown = f" [shows: {turn['blip_caption']}]" if turn.get("blip_caption") else ""
            text = f"{turn['speaker']}: {turn['text']}{shown}"
            found = _EVIDENCE.fullmatch(str(turn.get("dia_id", "")).strip())
            id = f"D{number}:{place}" if found is None else f"D{int(found[1])}:{int(found[2])}"
            yield Turn(id, session, "user" if turn["speaker"] == first else "assistant", text, at)


def _locomo_time(text: str) -> datetime:
    try:
        return datetime.strptime(text.strip(), "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
    except ValueError:
        return datetime(2023, 1, 1, tzinfo=UTC)


def _longmemeval(sample: Mapping[str, Any]) -> Talk:
    turns: list[Turn] = []
    marked: dict[str, set[str]] = {}
    for session, date, said in zip(
        sample["haystack_session_ids"], sample["haystack_dates"], sample["haystack_sessions"], strict=True
    ):
        at = datetime.strptime(re.sub(r"\s*\(\w+\)", "", date), "%Y/%m/%d %H:%M").replace(tzinfo=UTC)
        for place, turn in enumerate(said):
            id = f"{session}/{place}"
            if turn["content"].strip():
                turns.append(Turn(id, session, turn["role"], turn["content"], at))
            if turn.get("has_answer"):
                marked.setdefault(session, set()).add(id)
    texts: Sequence[str] = sample.get("questions") or [sample["question"]]
    answers = sample["answer_session_ids"]
    each = answers if answers and isinstance(answers[0], list) else [answers] * len(texts)
    questions = tuple(
        Question(
            text,
            sample["question_type"],
            frozenset(id for session in sessions for id in marked.get(session, ())),
            frozenset(sessions),
        )
        for text, sessions in zip(texts, each, strict=True)
        if sessions
    )
    return Talk(tuple(turns), questions)
