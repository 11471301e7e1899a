"""Which providers the example takes, and that they can be had: the plugins' own objects, with keys of no worth."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from livekit.plugins import cartesia, deepgram, openai

import providers
from offline.scripted_model import ScriptedModel
from offline.speech import FliteTTS, SphinxSTT
from providers import Choice

OPENAI, DEEPGRAM, CARTESIA = ({f"{name}_API_KEY": "key"} for name in ("OPENAI", "DEEPGRAM", "CARTESIA"))
ELSEWHERE = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
NOTHING = Choice("scripted", "pocketsphinx", "flite")


@pytest.mark.parametrize(
    ("environment", "choice"),
    [
        ({}, NOTHING),
        ({"OPENAI_API_KEY": "", "DEEPGRAM_API_KEY": ""}, NOTHING),
        (ELSEWHERE, NOTHING),
        (OPENAI, Choice("openai", "openai", "openai")),
        (OPENAI | ELSEWHERE, Choice("openai", "pocketsphinx", "flite")),
        (DEEPGRAM, Choice("scripted", "deepgram", "deepgram")),
        (CARTESIA, Choice("scripted", "cartesia", "cartesia")),
        (DEEPGRAM | CARTESIA, Choice("scripted", "deepgram", "cartesia")),
        (OPENAI | DEEPGRAM, Choice("openai", "deepgram", "deepgram")),
        (OPENAI | CARTESIA, Choice("openai", "cartesia", "cartesia")),
        (OPENAI | DEEPGRAM | CARTESIA, Choice("openai", "deepgram", "cartesia")),
        (OPENAI | ELSEWHERE | DEEPGRAM, Choice("openai", "deepgram", "deepgram")),
    ],
)
def test_what_has_a_key_is_taken(environment: dict[str, str], choice: Choice) -> None:
    assert providers.choose(environment) == choice


@pytest.mark.parametrize(
    ("choice", "offline"),
    [
        (NOTHING, True),
        (Choice("openai", "deepgram", "cartesia"), False),
        (Choice("openai", "openai", "flite"), True),
        (Choice("scripted", "openai", "openai"), True),
    ],
)
def test_a_choice_says_whether_callers_may_hear_it(choice: Choice, offline: bool) -> None:
    assert choice.offline == offline


@pytest.mark.parametrize(
    ("environment", "kinds"),
    [
        (OPENAI, (openai.LLM, openai.STT, openai.TTS)),
        (OPENAI | DEEPGRAM, (openai.LLM, deepgram.STT, deepgram.TTS)),
        (OPENAI | CARTESIA, (openai.LLM, cartesia.STT, cartesia.TTS)),
        ({}, (ScriptedModel, SphinxSTT, FliteTTS)),
    ],
)
def test_a_session_is_made_of_them(
    environment: dict[str, str], kinds: tuple[type, type, type], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI", "DEEPGRAM", "CARTESIA"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def made() -> None:
        session = providers.new_session()
        parts = (session.llm, session.stt, session.tts)
        assert tuple(map(type, parts)) == kinds
        for part in parts:
            await part.aclose()

    asyncio.run(made())


def test_the_model_and_its_address_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (OPENAI | ELSEWHERE | {"OPENAI_MODEL": "mine"}).items():
        monkeypatch.setenv(name, value)
    model = providers.model(Choice("openai", "deepgram", "cartesia"))
    assert isinstance(model, openai.LLM)
    assert model.model == "mine"
    assert model.provider == "127.0.0.1:9"


def test_no_other_plugin_is_loaded() -> None:
    script = """
import sys, providers
providers.load(providers.Choice("openai", "deepgram", "flite"))
print(*sorted(name for name in sys.modules if name.startswith("livekit.plugins.") and name.count(".") == 2))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(providers.__file__).parent
    )
    assert done.stdout.split() == ["livekit.plugins.deepgram", "livekit.plugins.openai"]
