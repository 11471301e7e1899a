"""One call's memory, and how the framework's session comes by it."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from livekit.agents import AgentSession, ConversationItemAddedEvent
from livekit.agents.llm import ChatMessage

from edgememory.context import CountTokens, estimate_tokens
from edgememory.errors import EdgeMemoryError, InvalidInputError
from edgememory.integrations.livekit.caller import Caller, Verified
from edgememory.integrations.turns import TurnMemory
from edgememory.session import Session

_log = logging.getLogger("edgememory")

BLOCK_ID = "edgememory"
"""The id of the message that holds the block, in the copy that a model is given."""

BlockRole = Literal["user", "system", "developer"]
UserData = TypeVar("UserData")


class Call:
    """A memory session, who calls, and whether that is sure enough for them to hear what is known.

    What is said is recorded in any case.

    Args:
        session: an open one.
        caller: `None` if the session's user is certain.
        disclose: how far the caller must be verified for the model to be told anything, by the block or by a tool.
    """

    def __init__(self, session: Session, caller: Caller | None = None, *, disclose: Verified = Verified.SIGNED) -> None:
        self.session = session
        self.caller = caller or Caller(session.user_id, Verified.SIGNED)
        self._disclose = disclose

    @property
    def disclosed(self) -> bool:
        """Whether the model is told what is known of the user."""
        return self.caller.verified >= self._disclose

    def confirm(self) -> None:
        """Say that the caller has shown who they are: the next turn has the block.

        A realtime model has it once ``await agent.update_memory()`` was called.
        """
        self.caller = Caller(self.caller.user_id, Verified.CONFIRMED)

    async def identify(self, user_id: str, verified: Verified = Verified.CONFIRMED) -> None:
        """Say who the caller is, where nobody was known: the next turn has the block, if *verified* is enough.

        A realtime model has it once ``await agent.update_memory()`` was called.
        """
        await self.session.identify(user_id)
        self.caller = Caller(user_id, verified)


@dataclass(frozen=True, slots=True)
class Attached:
    """What an agent needs of a call."""

    call: Call
    turns: TurnMemory
    role: BlockRole

    async def block(self, turn_id: str, said: str) -> str:
        return await self.turns.block(turn_id, said) if self.call.disclosed else ""


_attached: WeakKeyDictionary[AgentSession[Any], Attached] = WeakKeyDictionary()


def attach(
    agent_session: AgentSession[UserData],
    memory: Call | Session,
    *,
    max_tokens: int = 500,
    count_tokens: CountTokens = estimate_tokens,
    recall_limit: int = 5,
    recall_timeout: float = 0.15,
    deep: bool = False,
    role: BlockRole = "user",
) -> TurnMemory:
    """Record what is said, and give the session's agents and its `MemoryToolset` this memory. Before it is started.

    Costs nothing on the voice path: an item is recorded in some 20 microseconds, after it was said. What tools answer
    is not recorded, nor is the block. A reply that was interrupted is recorded as far as it was heard, and marked.

    Args:
        agent_session: each at most once.
        memory: the call's. Of a plain session the user is taken to be certain.
        max_tokens: as in `TurnMemory`, and so are the next four.
        count_tokens: as in `Session.context`.
        recall_limit: how many matches a turn is given.
        recall_timeout: seconds by which recall may delay a reply, at most.
        deep: whether each turn asks for the whole history too.
        role: of the message that holds the block. What callers said must not become instructions, and in the middle of
            a conversation several providers take `system` and `developer` for that.

    Returns:
        What makes the blocks; its `waited` says how long the last one took.
    """
    if agent_session in _attached:
        raise EdgeMemoryError("this AgentSession has its memory: attach() it once")
    call = memory if isinstance(memory, Call) else Call(memory)
    turns = TurnMemory(
        call.session,
        max_tokens=max_tokens,
        count_tokens=count_tokens,
        recall_limit=recall_limit,
        recall_timeout=recall_timeout,
        deep=deep,
    )

    def record(event: ConversationItemAddedEvent) -> None:
        if isinstance(event.item, ChatMessage):
            _record(call.session, event.item)

    agent_session.on("conversation_item_added", record)
    _attached[agent_session] = Attached(call, turns, role)
    return turns


def attached_to(agent_session: AgentSession[UserData]) -> Attached | None:
    return _attached.get(agent_session)


def _record(session: Session, message: ChatMessage) -> None:
    text = message.text_content
    if message.id == BLOCK_ID or message.role not in ("user", "assistant") or not text:
        return
    try:
        spoken_at = datetime.fromtimestamp(message.created_at, UTC)
        session.add_message(message.role, text, at=spoken_at, interrupted=message.interrupted)
    except (InvalidInputError, ValueError, OverflowError, OSError) as error:
        _log.warning("what was said is not recorded: %s", error)
