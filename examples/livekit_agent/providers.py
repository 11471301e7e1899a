"""Which model answers, and which hear and speak: those that `.env` has keys for."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Literal

from livekit.agents import AgentSession, llm, stt, tts

from edgememory.integrations.turns import TurnMemory

OPENAI_MODEL = "gpt-4.1-mini"
OFFLINE = {"scripted", "pocketsphinx", "flite"}
"""They need no key, and show that all works. Nobody should have to talk to them."""

Hears = Literal["deepgram", "cartesia", "openai", "pocketsphinx"]
Speaks = Literal["cartesia", "deepgram", "openai", "flite"]
_HEARS: tuple[Hears, ...] = ("deepgram", "cartesia", "openai", "pocketsphinx")
_SPEAKS: tuple[Speaks, ...] = ("cartesia", "deepgram", "openai", "flite")


@dataclass(frozen=True)
class Choice:
    model: Literal["openai", "scripted"]
    hears: Hears
    speaks: Speaks

    @property
    def offline(self) -> bool:
        return not OFFLINE.isdisjoint(astuple(self))

    def __str__(self) -> str:
        return f"model: {self.model}, hears: {self.hears}, speaks: {self.speaks}"


def choose(environment: Mapping[str, str]) -> Choice:
    """Take the first of each that there is a key for.

    A server of another address that is merely compatible with OpenAI has models, and as a rule no speech.
    """
    keys = {name for name in ("openai", "deepgram", "cartesia") if environment.get(f"{name.upper()}_API_KEY")}
    speech = OFFLINE | (keys - {"openai"} if environment.get("OPENAI_BASE_URL") else keys)
    return Choice(
        model="openai" if "openai" in keys else "scripted",
        hears=next(name for name in _HEARS if name in speech),
        speaks=next(name for name in _SPEAKS if name in speech),
    )


def new_session() -> AgentSession[TurnMemory]:
    """Voice activity and the ends of turns are found by LiveKit's own models, which come with it."""
    choice = choose(os.environ)
    return AgentSession(llm=model(choice), stt=ears(choice), tts=voice(choice))


def load(choice: Choice) -> None:
    """Import the plugins of a choice, and no others: it takes a second, and must be done in the main thread."""
    for name in {*astuple(choice)} - OFFLINE:
        importlib.import_module(f"livekit.plugins.{name}")


# They read their keys, and OPENAI_BASE_URL, from the environment.


def model(choice: Choice) -> llm.LLM[str]:
    match choice.model:
        case "openai":
            from livekit.plugins import openai

            return openai.LLM(model=os.environ.get("OPENAI_MODEL", OPENAI_MODEL))
        case "scripted":
            from offline.scripted_model import ScriptedModel

            return ScriptedModel()


def ears(choice: Choice) -> stt.STT[str]:
    match choice.hears:
        case "deepgram":
            from livekit.plugins import deepgram

            return deepgram.STT()
        case "cartesia":
            from livekit.plugins import cartesia

            return cartesia.STT()
        case "openai":
            from livekit.plugins import openai

            return openai.STT()
        case "pocketsphinx":
            from offline.speech import SphinxSTT

            return SphinxSTT()


def voice(choice: Choice) -> tts.TTS[str]:
    match choice.speaks:
        case "cartesia":
            from livekit.plugins import cartesia

            return cartesia.TTS()
        case "deepgram":
            from livekit.plugins import deepgram

            return deepgram.TTS()
        case "openai":
            from livekit.plugins import openai

            return openai.TTS()
        case "flite":
            from offline.speech import FliteTTS

            return FliteTTS()
