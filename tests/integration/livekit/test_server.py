"""The agent server, where it cannot start."""

import pytest

from edgememory import ConfigError, EdgeMemory
from edgememory.integrations.livekit import LiveKitMemory, MemoryServer


def misconfigured() -> EdgeMemory:
    raise ConfigError("outbox.path is missing")


async def test_a_server_whose_memory_cannot_start_ends_with_the_reason_and_no_other() -> None:
    server = MemoryServer(LiveKitMemory(misconfigured))
    with pytest.raises(ConfigError, match=r"outbox\.path is missing"):
        await server.run(unregistered=True)
    await server.drain()
    await server.aclose()


async def test_a_server_without_an_entrypoint_ends_with_the_reason_and_no_other() -> None:
    server = MemoryServer(LiveKitMemory(EdgeMemory.in_memory))
    with pytest.raises(RuntimeError, match="entrypoint"):
        await server.run(unregistered=True)
    await server.drain()
    await server.aclose()
