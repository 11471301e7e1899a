"""The code of "Bring your own models" runs against servers that answer as real ones do; its numbers are the code's."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import anyio
import pytest

from edgememory.extract import checked, prompt
from edgememory.extract import openai as extractor
from edgememory.limits import LIMITS
from edgememory.recall import openai as embedder
from tests.conversations import conversation
from tests.docs.fences import ROOT, fences
from tests.faults.model_server import FaultyModelServer, answering, faulty_model_server
from tests.tiny_model import save_tiny_model

PAGE = "docs/how-to/models.md"
CODE = {code.split("\n", 1)[0].removeprefix("# "): code for code in fences(PAGE, "python")}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyModelServer]:
    with faulty_model_server() as server:
        monkeypatch.setenv("MODEL_URL", f"{server.url}/v1")
        monkeypatch.setenv("MODEL_TOKEN", "x")
        yield server


def run(folder: Path, *command: str) -> str:
    for name, code in CODE.items():
        (folder / name).write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_a_call_becomes_facts(server: FaultyModelServer, tmp_path: Path) -> None:
    facts = [
        {"text": "Moved to Lisbon in February 2026", "importance": 8, "replaces": None},
        {"text": "Is the sister of Zelda", "importance": 5, "replaces": None},
    ]
    said = json.dumps({"facts": facts, "preferences": [], "name": "Ann", "summary": "Ann has moved."})
    server.respond = answering(200, {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})
    assert run(tmp_path, "extract.py") == "Ann ['Moved to Lisbon in February 2026']"
    assert [path for path, _, _ in server.requests] == ["/v1/chat/completions"]


def test_texts_become_vectors(server: FaultyModelServer, tmp_path: Path) -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        document: Any = server.requests[-1][2]
        vector = [0.5] * document["dimensions"]
        data = [{"index": place, "embedding": vector} for place in range(len(document["input"]))]
        answering(200, {"data": data})(handler)

    server.respond = respond
    assert run(tmp_path, "embed.py") == "2 vectors of 512"


def test_a_model_in_the_process_makes_vectors(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "tiny")
    assert run(tmp_path, "local.py", "tiny") == "tiny makes 2 vectors of 3"


def test_an_extractor_of_ones_own_is_one() -> None:
    own: dict[str, Any] = {}
    exec(CODE["own.py"], own)
    said = conversation("Hi!", "I'm allergic to nuts.", ("assistant", "You are allergic to nuts."))
    extracted = anyio.run(own["extractor"].extract, said)
    assert [fact.text for fact in extracted.facts] == ["I'm allergic to nuts."]


def test_the_numbers_are_those_of_the_code() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    for number in (
        f"newest {prompt.TRANSCRIPT_BYTES // 1024} KiB",
        f"of each message {prompt.MESSAGE_BYTES // 1024} KiB",
        f"{prompt.KNOWN_FACTS} known facts",
        f"bounded at {extractor.ANSWER_TOKENS:,} tokens",
        f"first {checked.MAX_FACTS}, of {LIMITS.fact // 1024} KiB",
        f"first {checked.MAX_PREFERENCES}, with a name of {LIMITS.preference_name} bytes",
        f"a value of {LIMITS.preference_value // 1024} KiB",
        f"| {LIMITS.summary // 1024} KiB | cut at a word",
        f"{embedder.BATCH} at once, of each the first {embedder.TEXT_BYTES // 1024} KiB",
    ):
        assert number in re.sub(r"\s+", " ", text), number
