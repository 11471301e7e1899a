"""What the messages of a context say, and where the block of memory stands among them."""

from collections.abc import Sequence
from typing import cast

from pipecat.processors.aggregators.llm_context import (
    LLMContextMessage,
    LLMSpecificMessage,
    standard_message_text,
)
from pipecat.turns.user_turn_completion_mixin import (
    USER_TURN_COMPLETE_MARKER,
    USER_TURN_INCOMPLETE_LONG_MARKER,
    USER_TURN_INCOMPLETE_SHORT_MARKER,
)

from edgememory.context import OPENING
from edgememory.models import Role

_MARKERS = (USER_TURN_COMPLETE_MARKER, USER_TURN_INCOMPLETE_SHORT_MARKER, USER_TURN_INCOMPLETE_LONG_MARKER)
"""What a model that judges whether the caller has finished puts before its reply, or in place of one."""


def role_of(message: LLMContextMessage) -> str:
    """Return the role; empty for what only one provider's service understands."""
    return "" if isinstance(message, LLMSpecificMessage) else message.get("role", "")


def is_block(message: LLMContextMessage) -> bool:
    """Say whether it is ours: by what it says, so that it is known again in a copy of the context too."""
    if isinstance(message, LLMSpecificMessage):
        return False
    content = message.get("content")
    return isinstance(content, str) and content.startswith(OPENING) and message["role"] == "user"


def spoken(message: LLMContextMessage) -> tuple[Role, str] | None:
    """Return who said what; `None` for instructions, tools and the block, and where there are no words."""
    text = standard_message_text(message).strip()
    if role_of(message) == "user" and not is_block(message):
        return ("user", text) if text else None
    if role_of(message) == "assistant":
        for marker in _MARKERS:
            text = text.replace(marker, "").strip()
        return ("assistant", text) if text else None
    return None


def turn_of(messages: Sequence[LLMContextMessage]) -> tuple[str, str]:
    """Return an id for the turn that is to be answered, and what the caller said last.

    It is the same for each step of the turn, and for the copy on which an answer is begun before the turn is over.
    """
    others = [message for message in messages if not is_block(message)]
    place = _last_of_user(others)
    if place is None:
        return "", ""
    said = standard_message_text(others[place])
    return f"{place} {said}", said


def with_block(messages: Sequence[LLMContextMessage], block: str) -> list[LLMContextMessage]:
    """Return *messages* with this block as the only one: just before what the caller said last.

    Its role is the user's, because it holds what callers said: providers take other roles for instructions.
    """
    others = [message for message in messages if not is_block(message)]
    if block:
        others.insert(_place(others), cast("LLMContextMessage", {"role": "user", "content": block}))
    return others


def _place(messages: Sequence[LLMContextMessage]) -> int:
    """Say where: before the last user message, else after the instructions, before what this reply alone is told."""
    last = _last_of_user(messages)
    if last is not None:
        return last
    instructions = 0
    while instructions < len(messages) and role_of(messages[instructions]) in ("system", "developer"):
        instructions += 1
    is_all = instructions == len(messages)
    return instructions - 1 if is_all and instructions > 1 else instructions


def _last_of_user(messages: Sequence[LLMContextMessage]) -> int | None:
    return next((place for place in range(len(messages) - 1, -1, -1) if role_of(messages[place]) == "user"), None)
