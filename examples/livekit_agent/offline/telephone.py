"""A telephone line inside the process: both sides pass at the pace of speech, and are recorded."""

import asyncio
import time
import wave
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from livekit import rtc
from livekit.agents import io

from offline.speech import RATE

TICK = 0.02
"""Seconds: how long a frame is, as on a real line."""
_SAMPLES = int(RATE * TICK)
_BYTES = 2 * _SAMPLES
_SILENCE = bytes(_BYTES)


class Microphone(io.AudioInput):
    """The caller's: what they say, and silence otherwise."""

    def __init__(self) -> None:
        super().__init__(label="telephone")
        self._said = bytearray()
        self._frames = asyncio.Queue[bytes]()

    def say(self, samples: bytes) -> None:
        self._said += samples

    def tick(self) -> bytes:
        frame = bytes(self._said[:_BYTES]).ljust(_BYTES, b"\0")
        del self._said[:_BYTES]
        self._frames.put_nowait(frame)
        return frame

    async def __anext__(self) -> rtc.AudioFrame:
        return rtc.AudioFrame(await self._frames.get(), RATE, 1, _SAMPLES)


@dataclass
class _Segment:
    """What the agent says in one go."""

    waiting: bytearray = field(default_factory=bytearray)
    played: float = 0.0
    complete: bool = False


class Speaker(io.AudioOutput):
    """The caller's: plays what the agent says, no faster than it is spoken, and tells the framework how far it is."""

    def __init__(self) -> None:
        super().__init__(label="telephone", capabilities=io.AudioOutputCapabilities(pause=True), sample_rate=RATE)
        self._segments = deque[_Segment]()
        self._paused = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._segments or self._segments[-1].complete:
            self._segments.append(_Segment())
            self.on_playback_started(created_at=time.time())
        self._segments[-1].waiting += bytes(frame.data)

    def flush(self) -> None:
        super().flush()
        if self._segments:
            self._segments[-1].complete = True

    def clear_buffer(self) -> None:
        while self._segments:
            self._finished(interrupted=True)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def tick(self) -> bytes:
        if self._paused or not self._segments:
            return _SILENCE
        segment = self._segments[0]
        frame = bytes(segment.waiting[:_BYTES])
        del segment.waiting[:_BYTES]
        segment.played += len(frame) / (2 * RATE)
        if segment.complete and not segment.waiting:
            self._finished(interrupted=False)
        return frame.ljust(_BYTES, b"\0")

    def _finished(self, *, interrupted: bool) -> None:
        segment = self._segments.popleft()
        self.on_playback_finished(playback_position=segment.played, interrupted=interrupted)


@dataclass
class Line:
    microphone: Microphone = field(default_factory=Microphone)
    speaker: Speaker = field(default_factory=Speaker)


@asynccontextmanager
async def telephone(recording: Path) -> AsyncGenerator[Line]:
    """Open a line. *recording* gets both sides as they were heard: the caller on the left, the agent on the right."""
    line = Line()
    recording.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(recording), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        clock = asyncio.create_task(_run(line, file))
        try:
            yield line
        finally:
            clock.cancel()
            with suppress(asyncio.CancelledError):
                await clock


async def _run(line: Line, file: wave.Wave_write) -> None:
    due = time.monotonic()
    while True:
        # Late or not, each tick is one frame: on a busy machine the line catches up, and loses nothing.
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        due += TICK
        file.writeframes(_side_by_side(line.microphone.tick(), line.speaker.tick()))


def _side_by_side(left: bytes, right: bytes) -> bytes:
    return b"".join(left[at : at + 2] + right[at : at + 2] for at in range(0, _BYTES, 2))
