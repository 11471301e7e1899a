"""Who hears, thinks and speaks: those whose keys are there, and what needs no key in place of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService

# The voice of Pipecat's own examples; any of Cartesia's will do.
CARTESIA_VOICE = "71a7ad14-091c-4e8e-a314-022ece01c121"
OPENAI_MODEL = "gpt-4.1-mini"


@dataclass(frozen=True, slots=True)
class Providers:
    """Which service does what."""

    hears: Literal["deepgram", "pocketsphinx"]
    thinks: Literal["openai", "scripted"]
    speaks: Literal["cartesia", "flite"]


def chosen(environment: Mapping[str, str]) -> Providers:
    """Choose each service by its key; an empty key is none.

    A server that speaks OpenAI's protocol may want no key: its address is enough.
    """
    return Providers(
        hears="deepgram" if environment.get("DEEPGRAM_API_KEY") else "pocketsphinx",
        thinks="openai" if environment.get("OPENAI_API_KEY") or environment.get("OPENAI_BASE_URL") else "scripted",
        speaks="cartesia" if environment.get("CARTESIA_API_KEY") else "flite",
    )


def ears(providers: Providers, environment: Mapping[str, str]) -> STTService:
    """Make the service that hears."""
    if providers.hears == "deepgram":
        from pipecat.services.deepgram.stt import DeepgramSTTService

        return DeepgramSTTService(api_key=environment["DEEPGRAM_API_KEY"])
    from voicebot.speech import SphinxSTTService

    return SphinxSTTService()


def model(providers: Providers, environment: Mapping[str, str]) -> FrameProcessor:
    """Make the service that thinks."""
    if providers.thinks == "openai":
        from pipecat.services.openai.llm import OpenAILLMService

        return OpenAILLMService(
            api_key=environment.get("OPENAI_API_KEY") or "none",
            base_url=environment.get("OPENAI_BASE_URL") or None,
            settings=OpenAILLMService.Settings(model=environment.get("OPENAI_MODEL") or OPENAI_MODEL),
        )
    from voicebot.scripted import ScriptedLLMService

    return ScriptedLLMService()


def voice(providers: Providers, environment: Mapping[str, str]) -> TTSService:
    """Make the service that speaks."""
    if providers.speaks == "cartesia":
        from pipecat.services.cartesia.tts import CartesiaTTSService

        return CartesiaTTSService(
            api_key=environment["CARTESIA_API_KEY"],
            settings=CartesiaTTSService.Settings(voice=environment.get("CARTESIA_VOICE") or CARTESIA_VOICE),
        )
    from voicebot.speech import FliteTTSService

    return FliteTTSService()
