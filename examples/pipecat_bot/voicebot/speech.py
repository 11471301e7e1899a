"""Ears and a voice that need no key: pocketsphinx from PyPI, and Debian's flite."""

import asyncio
import shutil
import subprocess
import tempfile
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from functools import cached_property
from pathlib import Path
from typing import Protocol, cast

from pipecat.frames.frames import Frame, TranscriptionFrame
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.utils.time import time_now_iso8601
from pocketsphinx import Decoder  # pyright: ignore[reportUnknownVariableType]

RATE = 16_000
# What follows the end of speech until its text is there: pocketsphinx takes as long as the utterance, at most.
WAITS_FOR_TEXT = 1.5


class _Hypothesis(Protocol):
    hypstr: str


class _Decoder(Protocol):
    """What is used of pocketsphinx, which has no types."""

    def start_utt(self) -> None: ...
    def process_raw(self, audio: bytes, *, no_search: bool, full_utt: bool) -> None: ...
    def end_utt(self) -> None: ...
    def hyp(self) -> _Hypothesis | None: ...


class SphinxSTTService(SegmentedSTTService):
    """Speech to text by pocketsphinx, whose English model comes in its wheel. Takes one to two seconds an utterance."""

    def __init__(self) -> None:
        settings = STTSettings(model="pocketsphinx", language=None)
        super().__init__(sample_rate=RATE, ttfs_p99_latency=WAITS_FOR_TEXT, settings=settings)

    @property
    def wants_wav_segments(self) -> bool:
        return False

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame, None]:
        # In a thread: it holds the loop up for as long as it listens.
        text = await asyncio.to_thread(self._heard, audio)
        if text:
            yield TranscriptionFrame(text, self._user_id, time_now_iso8601())

    def _heard(self, audio: bytes) -> str:
        decoder = self._decoder
        decoder.start_utt()
        decoder.process_raw(audio, no_search=False, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""

    @cached_property
    def _decoder(self) -> "_Decoder":
        return cast("_Decoder", Decoder(samprate=RATE, loglevel="FATAL"))


class FliteTTSService(TTSService):
    """Text to speech by flite, a process a sentence. Takes some 50 ms.

    Raises:
        RuntimeError: flite is not installed.
    """

    def __init__(self) -> None:
        if shutil.which("flite") is None:
            raise RuntimeError("flite is not installed: apt-get install flite, or set CARTESIA_API_KEY")
        settings = TTSSettings(model=None, voice="slt", language=None)
        super().__init__(push_start_frame=True, push_stop_frames=True, settings=settings)

    def can_generate_metrics(self) -> bool:
        return True

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        rate, speech = await asyncio.to_thread(spoken, text)
        await self.start_tts_usage_metrics(text)
        await self.stop_ttfb_metrics()
        async for frame in self._stream_audio_frames_from_iterator(
            _once(speech), in_sample_rate=rate, context_id=context_id
        ):
            yield frame


def spoken(text: str) -> tuple[int, bytes]:
    """Return the sample rate and the samples (16 bits, mono) of *text*, spoken."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", file], check=True)
        with wave.open(str(file)) as recording:
            return recording.getframerate(), recording.readframes(recording.getnframes())


async def _once(speech: bytes) -> AsyncIterator[bytes]:
    yield speech
