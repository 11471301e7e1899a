"""What clients of an OpenAI-compatible server share: requests in JSON, and its refusals as errors of ours."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edgememory.errors import ConfigError, StoreBlockedError, StoreError, StoreRejectedError
from edgememory.stores.http import Answer, HttpClient, failure

if TYPE_CHECKING:
    import httpx

_HEADERS = {"Content-Type": "application/json"}
_LONGEST_MESSAGE = 300
_QUOTA = "insufficient_quota"
"""The code with which OpenAI answers 429 until somebody pays."""
_SAME_IN_EVERY_REQUEST = ("model", "response_format", "max_tokens", "max_completion_tokens", "dimensions")


class _Error(Struct):
    message: object = None
    code: object = None
    param: object = None


class _Document(Struct):
    error: _Error | str | None = None
    message: object = None


class ModelServer:
    """A server to which models are asked over HTTP. A client passed in is used as it is, and is never closed."""

    def __init__(
        self, url: str, token: str, *, name: str, timeout: float, client: "httpx.AsyncClient | None" = None
    ) -> None:
        """*name* is that of its user in errors; *timeout* is for all of a request, in seconds.

        Raises:
            ConfigError: *url* is no address, *token* cannot stand in a header, or *timeout* leaves no time.
        """
        if not timeout > 0:
            raise ConfigError(f"{name}: the timeout must be above 0 seconds, not {timeout!r}")
        self._http = HttpClient(url, token, store=name, guard=timeout, client=client)
        self._name = name
        self._token = token

    async def post(self, operation: str, path: str, document: object) -> bytes:
        """Return the body of what is answered, if it is no error.

        Raises:
            StoreError: what the status means, and what the server says of it.
        """
        answer = await self._http.send("POST", operation, path, msgspec.json.encode(document), _HEADERS)
        if answer.status >= 400:
            raise self._refusal(answer, operation)
        return answer.body

    async def aclose(self) -> None:
        await self._http.aclose()

    def _refusal(self, answer: Answer, operation: str) -> StoreError:
        try:
            document = msgspec.json.decode(answer.body, type=_Document)
        except (msgspec.DecodeError, UnicodeError):
            document = _Document()
        error = document.error if isinstance(document.error, _Error) else _Error(document.error or document.message)
        kind = failure(answer.status)
        # A setting that the server does not take is no fault of this value: it would be refused with any other.
        if error.code == _QUOTA or (kind is StoreRejectedError and error.param in _SAME_IN_EVERY_REQUEST):
            kind = StoreBlockedError
        said = f": {error.message[:_LONGEST_MESSAGE]}" if isinstance(error.message, str) else ""
        message = f"HTTP {answer.status}{said}".replace(self._token, "***")
        return kind(message, store=self._name, operation=operation)
