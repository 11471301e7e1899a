"""An embedder that asks a model, on any server that speaks OpenAI's embeddings."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edgememory.errors import ConfigError, StoreBlockedError, StoreRejectedError, StoreUnavailableError
from edgememory.model_server import ModelServer
from edgememory.recall.embedder import Vector

if TYPE_CHECKING:
    import httpx

EMBEDDER = "openai-embedder"
BATCH = 128
"""Texts of one request. Of 4 KiB each they are half of the 300,000 tokens that OpenAI takes at once."""
TEXT_BYTES = 4 * 1024
"""A longer text is cut: OpenAI and vLLM refuse what is beyond the model's context, and all of its request."""

_SHORTENS = "text-embedding-3"
_NO_NUMBERS = re.compile(rb"\b(?:NaN|Infinity)\b")


class _Embedding(Struct):
    index: int
    embedding: list[float]


class _Embeddings(Struct):
    data: list[_Embedding]


class OpenAIEmbedder:
    """Asks a model by `POST {url}/embeddings`, for 128 texts at once. asyncio and trio.

    The texts go to that server, of each the first 4 KiB. Only models whose names hold `text-embedding-3` are asked for
    *dimensions*: others refuse to be, so they must answer with as many of their own accord. A client passed in is
    never closed.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        model: str,
        dimensions: int,
        timeout: float = 10.0,
        client: "httpx.AsyncClient | None" = None,
    ) -> None:
        """*url* is the address up to `/v1`. A server that wants no *token* takes any.

        Args:
            url: for example https://api.openai.com/v1
            token: is sent as a bearer token.
            model: its name, as the server knows it.
            dimensions: the length of its vectors.
            timeout: seconds for one request, whatever timeout *client* has.
            client: is used for the requests, for proxies or certificates of your own.

        Raises:
            ConfigError: *url* is no address, *token* cannot stand in a header, *dimensions* is no length, or *timeout*
                leaves no time.
        """
        if dimensions < 1:
            raise ConfigError(f"{EMBEDDER}: dimensions must be what the model answers with, not {dimensions!r}")
        self._server = ModelServer(url, token, name=EMBEDDER, timeout=timeout, client=client)
        self._model = model
        self._dimensions = dimensions

    @property
    def model(self) -> str:
        return self._model

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def local(self) -> bool:
        return False

    async def warm(self) -> None:
        """There is nothing to load."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return one vector a text, in their order.

        Raises:
            StoreUnavailableError: no answer in time, or one of no such server.
            StoreBlockedError: the token, the model's name or the account is refused, or vectors have another length.
            StoreRejectedError: the server does not take one of these texts, or a vector is not of finite numbers.
        """
        vectors: list[Vector] = []
        for start in range(0, len(texts), BATCH):
            vectors += await self._embedded(texts[start : start + BATCH])
        return vectors

    async def aclose(self) -> None:
        await self._server.aclose()

    async def _embedded(self, texts: Sequence[str]) -> list[Vector]:
        # No encoding_format: all servers answer with numbers unless they are asked for base64, which not all speak.
        request: dict[str, object] = {"model": self._model, "input": [_cut(text) for text in texts]}
        if _SHORTENS in self._model:
            request["dimensions"] = self._dimensions
        found = _decoded(await self._server.post("embed", "/embeddings", request))
        if sorted(embedding.index for embedding in found) != list(range(len(texts))):
            raise _no_embeddings(f"{len(found)} vectors came back for {len(texts)} texts, or of other texts")
        vectors = [embedding.embedding for embedding in sorted(found, key=lambda embedding: embedding.index)]
        for vector in vectors:
            if len(vector) != self._dimensions:
                message = (
                    f"{self._model} answers with vectors of {len(vector)} numbers, not {self._dimensions}: "
                    f"configure dimensions = {len(vector)}, or a model that has {self._dimensions}"
                )
                raise StoreBlockedError(message, store=EMBEDDER, operation="embed")
        return list(vectors)


def _cut(text: str) -> str:
    return text.encode()[:TEXT_BYTES].decode(errors="ignore")


def _decoded(body: bytes) -> list[_Embedding]:
    """Return the vectors, whose numbers are finite: JSON knows no others, and msgspec none that are too large."""
    try:
        return msgspec.json.decode(body, type=_Embeddings).data
    except (msgspec.DecodeError, UnicodeError) as error:
        # A model that makes nothing but NaN of a text will do so again.
        if ".embedding[" in str(error) or (not isinstance(error, msgspec.ValidationError) and _NO_NUMBERS.search(body)):
            message = "a vector is not of finite numbers"
            raise StoreRejectedError(message, store=EMBEDDER, operation="embed") from error
        raise _no_embeddings(str(error)) from error


def _no_embeddings(why: str) -> StoreUnavailableError:
    message = f"what answers there speaks no embeddings: does the address end as in https://.../v1? ({why})"
    return StoreUnavailableError(message, store=EMBEDDER, operation="embed")


if TYPE_CHECKING:
    from edgememory.recall.embedder import Embedder

    _: type[Embedder] = OpenAIEmbedder
