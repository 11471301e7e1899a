"""The example's two calls, by the commands that its README names: in real job processes, typed and spoken."""

import os
import re
import subprocess
import sys
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path

import pytest

from offline import rehearsal
from tests.docs.fences import ROOT, fences

COMMANDS = fences("examples/livekit_agent/README.md", "sh")


def _run(mode: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = f"examples/livekit_agent/agent.py {mode}"
    assert any(f"python {command}\n" in f"{commands}\n" for commands in COMMANDS), "the README names it"
    return subprocess.run(
        [sys.executable, *f"{ROOT}/{command}".split()],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | environment,
        timeout=280,
    )


def _without_times(text: str) -> list[str]:
    return re.sub(r"\d+\.\d ms", "... ms", text).splitlines()


def _said(printed: str, who: str) -> list[str]:
    return [text.split("  (")[0] for text in re.findall(rf"^ *{who}  (.+)$", printed, re.MULTILINE)]


@pytest.mark.timeout(300)
def test_the_second_call_knows_what_was_said_in_the_first(tmp_path: Path) -> None:
    done = _run("demo", tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "remembered: yes"), done.stdout + done.stderr
    (shown,) = fences("examples/livekit_agent/README.md", "text")
    assert _without_times(done.stdout.strip()) == _without_times(shown.strip())


@pytest.mark.spoken
@pytest.mark.timeout(300)
@pytest.mark.skipif(
    not rehearsal.flite_is_installed(), reason="flite is not installed, which speaks (apt install flite)"
)
def test_what_is_spoken_is_heard_and_remembered(tmp_path: Path) -> None:
    done = _run("voice", tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "remembered: yes"), done.stdout + done.stderr
    # What the recogniser writes has neither capitals nor points: nobody has passed it what was to be said.
    assert _said(done.stdout, "caller") == [re.sub(r"[,.?]", "", it).lower() for it in _said(done.stdout, "says")]
    for room in (rehearsal.FIRST, rehearsal.SECOND):
        caller, agent = _sides(tmp_path / rehearsal.RECORDINGS / f"{room}.wav")
        assert _spoken(caller) > 1
        assert _spoken(agent) > 4


def test_a_missing_voice_is_named(tmp_path: Path) -> None:
    done = _run("voice", tmp_path, PATH=str(tmp_path))
    assert done.returncode == 1
    assert "apt-get install flite" in done.stdout


@pytest.mark.parametrize(("remembered", "code"), [(True, 0), (False, 1)])
def test_the_exit_code_tells(remembered: bool, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def two_calls(entrypoint: object) -> bool:
        return remembered

    monkeypatch.setattr(rehearsal, "_two_calls", two_calls)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert rehearsal.main("demo") == code


@pytest.mark.parametrize(
    "answers",
    [
        ["Hello, who is calling?", "You told me: peanuts.", "You told me: the window."],
        ["Welcome back, Anna.", "You have not told me.", "You told me: the window."],
        ["Welcome back, Anna.", "You told me: peanuts.", "You have not told me."],
        ["Welcome back, Anna. Peanuts? The window?"],
        [],
    ],
)
def test_an_agent_that_forgot_something_is_found_out(answers: list[str]) -> None:
    assert not rehearsal.remembers(answers)


def _sides(recording: Path) -> tuple[Sequence[int], Sequence[int]]:
    with wave.open(str(recording), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 16_000)
        samples = array("h", file.readframes(file.getnframes()))
    return samples[::2], samples[1::2]


def _spoken(side: Sequence[int]) -> float:
    """Seconds that are not silent."""
    frames = [side[at : at + 1600] for at in range(0, len(side), 1600)]
    return sum(0.1 for frame in frames if max(map(abs, frame)) > 500)
