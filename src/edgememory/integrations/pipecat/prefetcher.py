"""EdgeMemoryPrefetcher: recall begins while the caller still speaks."""

import asyncio

from pipecat.frames.frames import Frame, InterimTranscriptionFrame, LLMContextUserTurnFrame, TranscriptionFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from edgememory.integrations.pipecat.service import EdgeMemoryService


class EdgeMemoryPrefetcher(FrameProcessor):
    """Stands between speech-to-text and the user aggregator, which lets no interim transcript pass.

    It holds nothing up, and recalls for the newest words only: what it cannot keep up with it leaves out.
    """

    def __init__(self, service: EdgeMemoryService) -> None:
        super().__init__()
        self._service = service
        self._heard: list[str] = []
        self._wanted: str | None = None
        self._recalling: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            self._heard.append(frame.text)
            self._prefetch(self._heard)
        elif isinstance(frame, InterimTranscriptionFrame):
            self._prefetch([*self._heard, frame.text])
        elif isinstance(frame, LLMContextUserTurnFrame):
            self._heard.clear()  # the aggregator has written them down, and begins anew
        await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        if self._recalling is not None:
            await self.cancel_task(self._recalling)
        await super().cleanup()  # type: ignore[no-untyped-call]  # Pipecat leaves it untyped

    def _prefetch(self, heard: list[str]) -> None:
        self._wanted = " ".join(heard)
        if self._recalling is None or self._recalling.done():
            self._recalling = self.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        while self._wanted is not None:
            said, self._wanted = self._wanted, None
            await self._service.prefetch(said)
