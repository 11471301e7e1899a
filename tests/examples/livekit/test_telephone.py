"""The line of the spoken calls: nothing is lost on it, and the framework hears how far its words got."""

import asyncio
import wave
from collections.abc import Callable, Coroutine
from pathlib import Path

from livekit import rtc
from livekit.agents.voice.io import PlaybackFinishedEvent

from offline.speech import RATE
from offline.telephone import TICK, Microphone, Speaker, telephone

FRAME = int(RATE * TICK)


def _frame(sample: bytes, ticks: float) -> rtc.AudioFrame:
    samples = int(FRAME * ticks)
    return rtc.AudioFrame(sample * samples, RATE, 1, samples)


def _run(test: Callable[[Speaker, list[PlaybackFinishedEvent]], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        speaker, finished = Speaker(), list[PlaybackFinishedEvent]()
        speaker.on("playback_finished", finished.append)
        await test(speaker, finished)

    asyncio.run(run())


def test_what_the_agent_says_is_played_once_and_then_reported() -> None:
    async def test(speaker: Speaker, finished: list[PlaybackFinishedEvent]) -> None:
        await speaker.capture_frame(_frame(b"ab", 1.5))
        assert speaker.tick() == b"ab" * FRAME
        assert speaker.tick() == (b"ab" * (FRAME // 2)).ljust(2 * FRAME, b"\0")
        assert not finished  # more may come
        await speaker.capture_frame(_frame(b"cd", 1))
        speaker.flush()
        assert speaker.tick() == b"cd" * FRAME
        assert [(it.playback_position, it.interrupted) for it in finished] == [(2.5 * TICK, False)]
        assert speaker.tick() == bytes(2 * FRAME)

    _run(test)


def test_an_interruption_says_how_much_was_heard() -> None:
    async def test(speaker: Speaker, finished: list[PlaybackFinishedEvent]) -> None:
        await speaker.capture_frame(_frame(b"ab", 5))
        speaker.flush()
        speaker.tick()
        speaker.tick()
        speaker.clear_buffer()
        assert [(it.playback_position, it.interrupted) for it in finished] == [(2 * TICK, True)]
        assert speaker.tick() == bytes(2 * FRAME)
        await speaker.capture_frame(_frame(b"cd", 1))  # and the next words are heard
        assert speaker.tick() == b"cd" * FRAME

    _run(test)


def test_a_pause_holds_the_words_back() -> None:
    async def test(speaker: Speaker, finished: list[PlaybackFinishedEvent]) -> None:
        await speaker.capture_frame(_frame(b"ab", 1))
        speaker.flush()
        speaker.pause()
        assert speaker.tick() == bytes(2 * FRAME)
        speaker.resume()
        assert speaker.tick() == b"ab" * FRAME
        assert len(finished) == 1

    _run(test)


def test_the_caller_is_heard_frame_by_frame_and_silent_otherwise() -> None:
    async def heard() -> list[bytes]:
        microphone = Microphone()
        microphone.say(b"ab" * (FRAME + 1))
        for _ in range(3):
            microphone.tick()
        return [bytes((await anext(microphone)).data) for _ in range(3)]

    assert asyncio.run(heard()) == [b"ab" * FRAME, b"ab".ljust(2 * FRAME, b"\0"), bytes(2 * FRAME)]


def test_both_sides_are_recorded_side_by_side(tmp_path: Path) -> None:
    async def talk() -> None:
        async with telephone(tmp_path / "calls" / "call.wav") as line:
            line.microphone.say(b"ab" * FRAME)
            await line.speaker.capture_frame(_frame(b"cd", 1))
            line.speaker.flush()
            await line.speaker.wait_for_playout()
            for _ in range(2):
                await anext(line.microphone)

    asyncio.run(talk())
    with wave.open(str(tmp_path / "calls" / "call.wav"), "rb") as file:
        assert (file.getnchannels(), file.getframerate()) == (2, RATE)
        assert file.readframes(FRAME) == b"abcd" * FRAME
