"""Agents whose model is told what is known of the caller, turn by turn."""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Sequence

from livekit.agents import Agent, FlushSentinel, ModelSettings
from livekit.agents.llm import ChatChunk, ChatContext, ChatItem, ChatMessage, Tool

from edgememory.integrations.livekit.call import BLOCK_ID, Attached, BlockRole, attached_to

_log = logging.getLogger("edgememory")

_GREETING = ""
"""The turn of a reply that answers nobody."""


class MemoryAgentMixin(Agent):
    """Puts the block into the copy of the conversation that the model is given: just before the user's last message.

    So the history never holds it, a reply that was begun early stays valid, and after a handoff the next agent has it
    too. Without a user message, as in a greeting, it stands after the instructions. It costs a reply 2 ms as a rule,
    and at most `recall_timeout`; whatever fails, the reply goes without it.

    A realtime model sees no such copy: it has the block in its instructions from `on_enter` on, as of then, and anew
    with each `update_memory`. Whoever overrides `on_enter` calls ``await super().on_enter()`` first.
    """

    _told = ""

    async def llm_node(
        self, chat_ctx: ChatContext, tools: list[Tool], model_settings: ModelSettings
    ) -> AsyncGenerator[ChatChunk | str | FlushSentinel]:
        node = super().llm_node(await self._with_memory(chat_ctx), tools, model_settings)
        answer = node if isinstance(node, AsyncIterable) else await node  # an agent's own may be any of them
        if isinstance(answer, AsyncIterable):
            try:
                async for chunk in answer:
                    yield chunk
            finally:
                # Now, when a reply is interrupted: it holds the model's connection. Generators and LLMStream have it.
                if (close := getattr(answer, "aclose", None)) is not None:
                    await close()
        elif answer is not None:
            yield answer

    async def on_enter(self) -> None:
        await super().on_enter()
        await self.update_memory()

    async def update_memory(self) -> None:
        """Tell a realtime model what is known by now: call it after `Call.confirm` or `Call.identify`.

        Other models are told with each turn: then it does nothing. It never raises for a model's service.
        """
        try:
            capabilities = self.realtime_llm_session.capabilities
        except RuntimeError:
            return  # no realtime model
        attached = self._attached()
        if attached is None:
            return
        if capabilities.mutable_instructions:
            await self._instruct(await attached.block(_GREETING, ""))
        else:
            _log.error(
                "this realtime model takes no new instructions: make the agent with session.context() in its own"
            )

    async def _instruct(self, block: str) -> None:
        instructions = self.instructions
        bare = instructions if isinstance(instructions, str) else instructions.render(modality="audio")
        told = f"\n\n{block}" if block else ""
        try:
            await self.update_instructions(bare.removesuffix(self._told) + told)
        except Exception:  # whatever the model's service says: better without memory than not at all
            _log.exception("a realtime model goes without memory")
        else:
            self._told = told

    async def _with_memory(self, chat_ctx: ChatContext) -> ChatContext:
        attached = self._attached()
        if attached is None or chat_ctx.get_by_id(BLOCK_ID) is not None:
            return chat_ctx
        last = last_user_message(chat_ctx.items)
        turn_id, said = (_GREETING, "") if last is None else (last.id, last.text_content or "")
        block = await attached.block(turn_id, said)
        return with_block(chat_ctx, block, role=attached.role) if block else chat_ctx

    def _attached(self) -> Attached | None:
        attached = attached_to(self.session)
        if attached is None:
            _log.error("an agent has no memory: attach(session, memory) before session.start(agent)")
        return attached


class MemoryAgent(MemoryAgentMixin):
    """An `Agent` with memory. Where you have a class of agents already, put `MemoryAgentMixin` before it instead."""


def with_block(chat_ctx: ChatContext, block: str, *, role: BlockRole) -> ChatContext:
    """Return a copy that holds the block."""
    copy = chat_ctx.copy()
    place = place_for_block(copy.items)
    message = ChatMessage(id=BLOCK_ID, role=role, content=[block])
    if place < len(copy.items):
        message.created_at = copy.items[place].created_at  # whatever sorts by time leaves it where it is
    copy.items.insert(place, message)
    return copy


def place_for_block(items: Sequence[ChatItem]) -> int:
    """Say where: before the last user message, else after the instructions, before what this reply alone is told."""
    last = last_user_message(items)
    if last is not None:
        return items.index(last)
    # Those of an `AgentTask` have the call of the tool that awaits it before them.
    end = next((place for place, item in enumerate(items) if _instructs(item)), 0)
    while end < len(items) and _instructs(items[end]):
        end += 1
    return end - 1 if end == len(items) and end > 1 else end


def last_user_message(items: Sequence[ChatItem]) -> ChatMessage | None:
    for item in reversed(items):
        if isinstance(item, ChatMessage) and item.role == "user":
            return item
    return None


def _instructs(item: ChatItem) -> bool:
    return isinstance(item, ChatMessage) and item.role in ("system", "developer")
