"""A caller over WebRTC, by aiortc: speaks when told to, and hears what the bot sends besides sound."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from fractions import Fraction

import httpx
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from av import AudioFrame

from tests.examples.pipecat_bot.speech import RATE

FRAME = RATE // 50
"""Samples in the 20 ms that are sent at a time."""

Message = Mapping[str, object]


class Microphone(MediaStreamTrack):
    """Silence, until there is something to say."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._speech = bytearray()
        self._began = 0.0
        self._sent = 0

    def say(self, speech: bytes) -> None:
        self._speech += speech

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms when it is their time, as a microphone does."""
        self._began = self._began or time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self._sent * 0.02 - time.monotonic()))
        samples = bytes(self._speech[: FRAME * 2]).ljust(FRAME * 2, b"\0")
        del self._speech[: FRAME * 2]
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(samples)
        frame.sample_rate = RATE
        frame.pts = self._sent * FRAME
        frame.time_base = Fraction(1, RATE)
        self._sent += 1
        return frame


class Caller:
    """One call; everything that arrived is in `heard`."""

    def __init__(self, microphone: Microphone, channel: RTCDataChannel) -> None:
        self.heard: list[Message] = []
        self._microphone = microphone
        self._channel = channel
        self._news = asyncio.Condition()

        @channel.on("message")
        async def arrived(message: str) -> None:
            async with self._news:
                self.heard.append(json.loads(message))
                self._news.notify_all()

    def say(self, speech: bytes) -> None:
        self._microphone.say(speech)

    def send(self, kind: str, content: object) -> None:
        self._channel.send(json.dumps({"label": "rtvi-ai", "type": kind, "id": kind, "data": content}))

    async def until(self, happened: Callable[[list[Message]], bool]) -> None:
        """Wait until what was heard is enough."""
        async with self._news, asyncio.timeout(60):
            await self._news.wait_for(lambda: happened(self.heard))

    def said(self, who: str) -> str:
        """Return all that the bot (`bot-output`) or the caller (`user-input`) has said so far."""
        return " ".join(str(it["text"]) for it in _of(self.heard, who) if it.get("spoken_status", "new") == "new")

    def ended_turns(self) -> int:
        """Return how often the bot has said all that it wanted to."""
        return len(_of(self.heard, "bot-stopped-speaking"))


def _of(heard: list[Message], kind: str) -> list[Mapping[str, object]]:
    contents = [it.get("data") or {} for it in heard if it.get("type") == kind]
    return [it for it in contents if isinstance(it, dict)]


@asynccontextmanager
async def calling(url: str, user_id: str) -> AsyncIterator[Caller]:
    """Yield a call that the bot has answered, and hang up."""
    connection, microphone = RTCPeerConnection(), Microphone()
    connection.addTrack(microphone)
    channel = connection.createDataChannel("chat", ordered=True)
    opened = asyncio.Event()
    channel.on("open", opened.set)
    caller = Caller(microphone, channel)
    try:
        await connection.setLocalDescription(await connection.createOffer())
        offer = {"sdp": connection.localDescription.sdp, "type": connection.localDescription.type}
        async with httpx.AsyncClient() as client:
            answer = await client.post(f"{url}/api/offer", json={**offer, "request_data": {"user_id": user_id}})
        theirs = answer.raise_for_status().json()
        await connection.setRemoteDescription(RTCSessionDescription(theirs["sdp"], theirs["type"]))
        async with asyncio.timeout(30):
            await opened.wait()
        caller.send("client-ready", {"version": "2.1.0", "about": {"library": "aiortc"}})
        yield caller
    finally:
        await connection.close()
