"""Ears, a voice, a microphone and a loudspeaker that do as they are told: LiveKit's voice pipeline is between them."""

import asyncio
import time
from collections.abc import Sequence

from livekit import rtc
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr, io, stt, tts
from livekit.agents.language import LanguageCode

RATE = 16_000
_FRAME = rtc.AudioFrame(b"\0" * 640, RATE, 1, 320)


class Ears(stt.STT):
    """Hears what `hear` is told, as a streaming service does."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=True, interim_results=True))
        self.events: asyncio.Queue[stt.SpeechEvent] = asyncio.Queue()

    async def hear(self, text: str) -> None:
        """Hear a sentence: at first as it seems to be, then finally."""
        self._event(stt.SpeechEventType.START_OF_SPEECH)
        self._event(stt.SpeechEventType.PREFLIGHT_TRANSCRIPT, text)
        self._event(stt.SpeechEventType.FINAL_TRANSCRIPT, text)
        self._event(stt.SpeechEventType.END_OF_SPEECH)

    def _event(self, type: stt.SpeechEventType, *texts: str) -> None:
        heard = [stt.SpeechData(language=LanguageCode("en"), text=text, confidence=1.0) for text in texts]
        self.events.put_nowait(stt.SpeechEvent(type=type, alternatives=heard))

    async def _recognize_impl(
        self, buffer: object, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions
    ) -> stt.SpeechEvent:
        raise NotImplementedError("it streams")

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        return _Hearing(stt=self, conn_options=conn_options)


class _Hearing(stt.RecognizeStream):
    async def _run(self) -> None:
        ears = self._stt
        assert isinstance(ears, Ears)
        while True:
            self._event_ch.send_nowait(await ears.events.get())


class Voice(tts.TTS):
    """Says everything in a second of silence."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Saying(tts=self, input_text=text, conn_options=conn_options)


class _Saying(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(request_id="voice", sample_rate=RATE, num_channels=1, mime_type="audio/pcm")
        output_emitter.push(b"\0" * 2 * RATE)
        output_emitter.flush()


class Microphone(io.AudioInput):
    """Silence, 20 ms at a time; what is said is told to the ears."""

    def __init__(self) -> None:
        super().__init__(label="microphone")

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(0.02)
        return _FRAME


class Loudspeaker(io.AudioOutput):
    """Plays until it is told that it is done, or is cut off half-way."""

    def __init__(self, *, at_once: bool = True) -> None:
        super().__init__(label="loudspeaker", capabilities=io.AudioOutputCapabilities(pause=False), sample_rate=RATE)
        self._at_once = at_once
        self._seconds = 0.0
        self._playing = False
        self.plays = asyncio.Event()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._playing:
            self._playing = True
            self.on_playback_started(created_at=time.time())
            self.plays.set()
        self._seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._at_once:
            self._end(self._seconds, interrupted=False)

    def clear_buffer(self) -> None:
        self._end(self._seconds / 2, interrupted=True)

    def _end(self, position: float, *, interrupted: bool) -> None:
        if self._playing:
            self._playing, self._seconds = False, 0.0
            self.on_playback_finished(playback_position=position, interrupted=interrupted)


def texts(items: Sequence[object]) -> list[str]:
    return [getattr(item, "text_content", "") or "" for item in items]
