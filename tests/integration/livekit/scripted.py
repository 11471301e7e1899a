"""A model that answers by a rule, and keeps what it was given."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr, llm

from edgememory.integrations.livekit.call import BLOCK_ID


@dataclass(frozen=True)
class Use:
    """The answer that uses a tool."""

    tool: str
    arguments: str = "{}"


Rule = Callable[[llm.ChatContext], str | Use]


def said_last(chat_ctx: llm.ChatContext) -> str:
    users = [message.text_content for message in chat_ctx.messages() if message.role == "user"]
    return (users and users[-1]) or ""


def echo(chat_ctx: llm.ChatContext) -> str:
    return f"You said: {said_last(chat_ctx)}"


class ScriptedLLM(llm.LLM):
    def __init__(self, rule: Rule = echo) -> None:
        super().__init__()
        self.rule = rule
        self.given: list[llm.ChatContext] = []
        """What each request held."""
        self.word_seconds = 0.0

    @property
    def blocks(self) -> list[list[str]]:
        """Of each request, the texts of its blocks."""
        return [blocks_in(chat_ctx) for chat_ctx in self.given]

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: Sequence[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, object]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        self.given.append(chat_ctx.copy())
        return _Answer(self, chat_ctx=chat_ctx, tools=list(tools or []), conn_options=conn_options)


class _Answer(llm.LLMStream):
    async def _run(self) -> None:
        model = self._llm
        assert isinstance(model, ScriptedLLM)
        answer = model.rule(self._chat_ctx)
        if isinstance(answer, Use):
            call = llm.FunctionToolCall(
                name=answer.tool, arguments=answer.arguments, call_id=f"call-{len(model.given)}"
            )
            self._send(llm.ChoiceDelta(role="assistant", tool_calls=[call]))
            return
        for word in answer.split(" "):
            self._send(llm.ChoiceDelta(role="assistant", content=f"{word} "))
            await asyncio.sleep(model.word_seconds)

    def _send(self, delta: llm.ChoiceDelta) -> None:
        self._event_ch.send_nowait(llm.ChatChunk(id="scripted", delta=delta))


def blocks_in(chat_ctx: llm.ChatContext) -> list[str]:
    return [message.text_content or "" for message in chat_ctx.messages() if message.id == BLOCK_ID]
