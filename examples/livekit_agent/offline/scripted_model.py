"""A model that is a few rules. It knows what stands in its prompt and nothing else: no caller is named here."""

import json
import re
import uuid
from collections.abc import Iterator, Sequence

from livekit.agents import APIConnectOptions, NotGivenOr, llm
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN

FENCE = "<user_memory>"


class ScriptedModel(llm.LLM[str]):
    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, object]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        return _Reply(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class _Reply(llm.LLMStream):
    async def _run(self) -> None:
        answer = reply(self.chat_ctx.items)
        delta = (
            llm.ChoiceDelta(role="assistant", content=answer)
            if isinstance(answer, str)
            else llm.ChoiceDelta(role="assistant", tool_calls=[answer])
        )
        self._event_ch.send_nowait(llm.ChatChunk(id=uuid.uuid4().hex, delta=delta))


def reply(prompt: Sequence[llm.ChatItem]) -> str | llm.FunctionToolCall:
    """Say what follows from the prompt: words, or the call of a tool."""
    if isinstance(prompt[-1], llm.FunctionCallOutput):
        return f"{prompt[-1].output.rstrip('.')}."
    said = [it.text_content or "" for it in prompt if isinstance(it, llm.ChatMessage) and it.role == "user"]
    known = next((_Known(text) for text in said if text.startswith(FENCE)), _Known(""))
    spoken = [text for text in said if not text.startswith(FENCE)]
    return _answer(spoken[-1], known) if spoken else _greeting(known)


class _Known:
    """What the block says, line by line."""

    def __init__(self, block: str) -> None:
        name = re.search(r"^- Name: (.+)$", block, re.MULTILINE)
        self.name = name and name[1]
        self.facts = [*_under("Facts:", block)]
        heard = (*_under("The last messages:", block), *_under("About what was just said:", block))
        self.said = [line.removeprefix("user: ") for line in heard if line.startswith("user: ")]


def _under(title: str, block: str) -> Iterator[str]:
    _, _, below = block.partition(f"\n{title}\n")
    for line in below.splitlines():
        if not (found := re.fullmatch(r"- \[[\d-]+\] (.+)", line)):
            return
        yield found[1]


def _greeting(known: _Known) -> str:
    if known.name is None:
        return "Hello, who is calling?"
    noted = f" I have noted: {known.facts[-1]}." if known.facts else ""
    return f"Welcome back, {known.name}.{noted}"


def _answer(said: str, known: _Known) -> str | llm.FunctionToolCall:
    if found := re.search(r"\bremember that (.+?)[.!]?$", said, re.IGNORECASE):
        return llm.FunctionToolCall(name="remember", arguments=json.dumps({"fact": found[1]}), call_id=uuid.uuid4().hex)
    if found := re.search(r"\bmy name is (\w+)", said, re.IGNORECASE):
        return f"Nice to meet you, {found[1].capitalize()}."
    if re.match(r"(?:what|where|which|who|when|do you)\b", said, re.IGNORECASE):
        best = _best(said, known.facts) or _best(said, known.said)
        return f"You told me: {best}." if best else "You have not told me."
    return "Thank you."


def _best(question: str, lines: Sequence[str]) -> str | None:
    """Return the line that shares the most words with a question, if any does; of several the newest."""
    asked = _words(question)
    best = max(reversed(lines), key=lambda line: len(asked & _words(line)), default="")
    return best if asked & _words(best) else None


def _words(text: str) -> set[str]:
    """Their beginnings, so that "live" is found in "Lives"."""
    return {word[:4] for word in re.findall(r"[a-z]{4,}", text.lower())}
