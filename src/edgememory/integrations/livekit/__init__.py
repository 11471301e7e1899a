"""Memory in LiveKit Agents. Needs the extra `livekit`."""

try:
    import livekit.agents as _  # noqa: F401
except ImportError as error:
    raise ImportError(f"this needs the extra `livekit` ({error}): pip install 'edgememory[livekit]'") from error

from edgememory.integrations.livekit.agent import MemoryAgent, MemoryAgentMixin
from edgememory.integrations.livekit.call import Call, attach
from edgememory.integrations.livekit.caller import Caller, Verified, resolve_user_id
from edgememory.integrations.livekit.memory import LiveKitMemory
from edgememory.integrations.livekit.server import MemoryServer
from edgememory.integrations.livekit.toolset import MemoryToolset

__all__ = [
    "Call",
    "Caller",
    "LiveKitMemory",
    "MemoryAgent",
    "MemoryAgentMixin",
    "MemoryServer",
    "MemoryToolset",
    "Verified",
    "attach",
    "resolve_user_id",
]
