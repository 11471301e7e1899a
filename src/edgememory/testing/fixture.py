"""The pytest plugin: loaded by every pytest run where edgememory is installed, so it imports no driver."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgememory import EdgeMemory


@pytest.fixture
async def edge_memory(anyio_backend: str) -> "AsyncIterator[EdgeMemory]":
    """Yield an open `EdgeMemory` that keeps everything in process memory, one a test.

    Works with anyio's pytest plugin, on asyncio and trio.
    """
    from edgememory import EdgeMemory

    async with EdgeMemory.in_memory() as memory:
        yield memory
