"""Where this bot's memory is: in what `EDGEMEMORY_CONFIG` describes, or in a folder beside the bot."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

from edgememory import EdgeMemory

FOLDER = "pipecat-bot-memory"


def memory_from(environment: Mapping[str, str]) -> EdgeMemory:
    """Make the memory that the environment asks for; it opens nothing yet."""
    if path := environment.get("EDGEMEMORY_CONFIG"):
        return EdgeMemory.from_config(path)
    return EdgeMemory.embedded(environment.get("EDGEMEMORY_FOLDER") or FOLDER)


def origin_is_here(environment: Mapping[str, str]) -> bool:
    """Say whether the origin is on this machine too, as in no deployment."""
    return not environment.get("EDGEMEMORY_CONFIG")


class SharedMemory:
    """One memory for all calls of a process: opened for the first that needs it, closed after the last.

    The development server is one process for many calls, and holds it open while it runs. On Pipecat Cloud a process
    has one call, and opens it for that.
    """

    def __init__(self, memory: EdgeMemory) -> None:
        self._memory = memory
        self._users = 0
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[EdgeMemory]:
        """Yield the memory, open."""
        async with self._lock:
            if self._users == 0:
                await self._memory.open()
            self._users += 1
        try:
            yield self._memory
        finally:
            async with self._lock:
                self._users -= 1
                if self._users == 0:
                    await self._memory.aclose()
