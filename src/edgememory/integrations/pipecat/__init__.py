"""Memory in Pipecat. Needs the extra `pipecat`."""

try:
    import pipecat as _  # noqa: F401
except ImportError as error:
    raise ImportError(f"this needs the extra `pipecat` ({error}): pip install 'edgememory[pipecat]'") from error

from edgememory.integrations.pipecat.prefetcher import EdgeMemoryPrefetcher
from edgememory.integrations.pipecat.service import EdgeMemoryService
from edgememory.integrations.pipecat.tools import memory_tools

__all__ = ["EdgeMemoryPrefetcher", "EdgeMemoryService", "memory_tools"]
