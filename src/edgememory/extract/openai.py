"""An extractor that asks a model, on any server that speaks OpenAI's chat completions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edgememory.errors import StoreError, StoreRejectedError, StoreUnavailableError
from edgememory.extract.checked import SPOKEN
from edgememory.extract.extractor import Conversation, Extracted
from edgememory.extract.prompt import SCHEMA, Answer, Turn, once_more, opening
from edgememory.model_server import ModelServer

if TYPE_CHECKING:
    import httpx

EXTRACTOR = "openai-extractor"
ANSWER_TOKENS = 8192
"""What a model may write, thoughts included: several times what the limits of an answer need."""
ANSWER_BYTES = 256 * 1024

_RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "what_a_conversation_leaves_behind", "schema": SCHEMA, "strict": True},
}
_OLD_BOUND, _NEW_BOUND = "max_tokens", "max_completion_tokens"


class _Message(Struct):
    content: object = None
    refusal: object = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice]


class _UnusableAnswerError(Exception):
    """An answer that is not what was asked for. Says why, and nothing of what it says."""


class OpenAIExtractor:
    """Asks a model by `POST {url}/chat/completions`. asyncio and trio.

    The newest 48 KiB of what user and agent have said, the user's name and 64 known facts go to that server; system
    messages and tools' answers do not. What was said is given as data, in a JSON document, and JSON is asked for by a
    schema. An answer that is something else is asked for once more, with what is wrong with it; then it is rejected.
    The model's context must hold some 40,000 tokens for the longest calls. A client passed in is never closed.

    No answer is to be believed as it is: what runs extractors has `checked` decide what may be remembered of it.
    """

    def __init__(
        self, url: str, token: str, *, model: str, timeout: float = 30.0, client: "httpx.AsyncClient | None" = None
    ) -> None:
        """*url* is the address up to `/v1`. A server that wants no *token* takes any.

        Args:
            url: for example https://api.openai.com/v1
            token: is sent as a bearer token.
            model: its name, as the server knows it. It must be able to answer by a JSON schema.
            timeout: seconds for one answer, whatever timeout *client* has.
            client: is used for the requests, for proxies or certificates of your own.

        Raises:
            ConfigError: *url* is no address, *token* cannot stand in a header, or *timeout* leaves no time.
        """
        self._server = ModelServer(url, token, name=EXTRACTOR, timeout=timeout, client=client)
        self._model = model
        self._bound = _OLD_BOUND

    async def extract(self, conversation: Conversation) -> Extracted:
        """Return what the model says, within no limits yet. Where nothing was said, it is not asked.

        Raises:
            StoreUnavailableError: no answer in time, or one of no such server.
            StoreBlockedError: the token, the model's name, a setting or the account is refused.
            StoreRejectedError: the model refuses this conversation, or its answers cannot be used.
        """
        if not any(message.role in SPOKEN and message.text.strip() for message in conversation.messages):
            return Extracted()
        turns = opening(conversation)
        choice = await self._asked(turns)
        try:
            return _extracted(choice)
        except _UnusableAnswerError as error:
            turns += once_more(_text(choice), str(error))
        choice = await self._asked(turns)
        try:
            return _extracted(choice)
        except _UnusableAnswerError as error:
            raise _rejected(f"twice the model's answer could not be used: {error}") from error

    async def aclose(self) -> None:
        await self._server.aclose()

    async def _asked(self, turns: Sequence[Turn]) -> _Choice:
        choice = _first_choice(await self._completion(turns))
        if choice.message.refusal:
            raise _rejected("the model refuses to answer")
        if choice.finish_reason == "content_filter":
            raise _rejected("the server's content filter holds the answer back")
        return choice

    async def _completion(self, turns: Sequence[Turn]) -> bytes:
        """Ask with the bound that this server takes.

        Nothing that all of them take bounds an answer: OpenAI's newer models refuse `max_tokens` and name the other;
        Mistral refuses the other, Ollama and llama.cpp's Python server ignore it. So the old one comes first.
        """
        bound = self._bound
        try:
            return await self._posted(turns, bound)
        except StoreError as error:
            if bound == _NEW_BOUND or _NEW_BOUND not in str(error):
                raise
        self._bound = _NEW_BOUND
        return await self._posted(turns, _NEW_BOUND)

    async def _posted(self, turns: Sequence[Turn], bound: str) -> bytes:
        # No temperature: OpenAI's reasoning models refuse any but their own, and the schema keeps the answer's form.
        request = {"model": self._model, "messages": turns, "response_format": _RESPONSE_FORMAT, bound: ANSWER_TOKENS}
        body = await self._server.post("extract", "/chat/completions", request)
        if len(body) > ANSWER_BYTES:
            raise _rejected(f"the answer is {len(body)} bytes long; the limit is {ANSWER_BYTES}")
        return body


def _first_choice(body: bytes) -> _Choice:
    try:
        return msgspec.json.decode(body, type=_Completion).choices[0]
    except (msgspec.DecodeError, UnicodeError, IndexError) as error:
        message = "what answers there speaks no chat completions: does the address end as in https://.../v1?"
        raise StoreUnavailableError(message, store=EXTRACTOR, operation="extract") from error


def _text(choice: _Choice) -> str:
    return choice.message.content if isinstance(choice.message.content, str) else ""


def _extracted(choice: _Choice) -> Extracted:
    if choice.finish_reason == "length":
        raise _UnusableAnswerError(f"it was longer than {ANSWER_TOKENS} tokens, and cut off")
    text = _text(choice)
    try:
        answer = msgspec.json.decode(_unfenced(text), type=Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _UnusableAnswerError(str(error)) from error
    return Extracted(
        facts=answer.facts, preferences=answer.preferences, name=answer.name or None, summary=answer.summary or None
    )


def _unfenced(text: str) -> str:
    """Return what stands between the first fence and the last, if the text does not begin with JSON itself."""
    _, fence, fenced = text.partition("```")
    if not fence or text.lstrip().startswith("{"):
        return text
    return fenced.partition("\n")[2].rpartition("```")[0]


def _rejected(why: str) -> StoreRejectedError:
    return StoreRejectedError(why, store=EXTRACTOR, operation="extract")


if TYPE_CHECKING:
    from edgememory.extract.extractor import Extractor

    _: type[Extractor] = OpenAIExtractor
