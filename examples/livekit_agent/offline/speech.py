"""Speech without a key: pocketsphinx hears, with the English model of its wheel, and flite speaks."""

# pocketsphinx has no types.
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false

import asyncio
import io
import shutil
import uuid
import wave

from livekit import rtc
from livekit.agents import APIConnectOptions, LanguageCode, NotGivenOr, stt, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN
from pocketsphinx import Decoder

RATE = 16_000
"""Samples a second, of flite's better voices and of pocketsphinx's model. Each is two bytes."""
FLITE_MISSING = "flite is not installed, which speaks without a key: apt-get install flite (macOS: brew install flite)"


def flite_is_installed() -> bool:
    return shutil.which("flite") is not None


async def speech(text: str, *, voice: str) -> bytes:
    """Return *text* as flite speaks it: samples at `RATE`, 16 bit, mono."""
    if not flite_is_installed():
        raise RuntimeError(FLITE_MISSING)
    flite = await asyncio.create_subprocess_exec(
        "flite", "-voice", voice, "-t", text, "-o", "/dev/stdout", stdout=asyncio.subprocess.PIPE
    )
    spoken, _ = await flite.communicate()
    if flite.returncode:
        raise RuntimeError(f"flite failed with {flite.returncode}")
    with wave.open(io.BytesIO(spoken), "rb") as file:
        return file.readframes(file.getnframes())


class FliteTTS(tts.TTS[str]):
    def __init__(self, voice: str = "rms") -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)
        self.voice = voice

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Spoken(tts=self, input_text=text, conn_options=conn_options)


class _Spoken(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, FliteTTS)
        samples = await speech(self.input_text, voice=self._tts.voice)
        output_emitter.initialize(request_id=uuid.uuid4().hex, sample_rate=RATE, num_channels=1, mime_type="audio/pcm")
        output_emitter.push(samples)
        output_emitter.flush()


class SphinxSTT(stt.STT[str]):
    """Takes about as long as what it hears. Plain words it hears well, many names not."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        # Loading takes half a second: meanwhile the call begins.
        self._loading = asyncio.create_task(asyncio.to_thread(Decoder, samprate=RATE, loglevel="FATAL"))
        self._one_at_a_time = asyncio.Lock()

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        samples = _at_rate(rtc.combine_audio_frames(buffer))
        decoder = await asyncio.shield(self._loading)
        async with self._one_at_a_time:
            text = await asyncio.to_thread(_heard, decoder, samples)
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language=LanguageCode("en"), text=text)],
        )


def _heard(decoder: Decoder, samples: bytes) -> str:
    decoder.start_utt()
    decoder.process_raw(samples, no_search=False, full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    return "" if best is None else best.hypstr


def _at_rate(frame: rtc.AudioFrame) -> bytes:
    if frame.sample_rate == RATE:
        return bytes(frame.data)
    resampler = rtc.AudioResampler(frame.sample_rate, RATE)
    return b"".join(bytes(it.data) for it in (*resampler.push(frame), *resampler.flush()))
