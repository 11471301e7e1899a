"""What an embedding model and its server may answer, and what the embedder makes of it: on asyncio and on trio."""

import json
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest

from edgememory import ConfigError
from edgememory.errors import StoreBlockedError, StoreError, StoreRejectedError, StoreUnavailableError
from edgememory.recall.openai import BATCH, TEXT_BYTES, OpenAIEmbedder
from tests.faults.model_server import TOKEN, FaultyModelServer, Respond, answering, faulty_model_server, raw, refusing

VECTOR = [0.5, -1.0, 0.25]
SHORT = 0.3
"""A timeout that is meant to pass."""

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


@pytest.fixture
def server() -> Iterator[FaultyModelServer]:
    with faulty_model_server() as server:
        yield server


@pytest.fixture
async def embedder(server: FaultyModelServer, anyio_backend: str) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder(f"{server.url}/v1", TOKEN, model="tiny", dimensions=3)
    yield embedder
    await embedder.aclose()


def embedding(*vectors: object) -> Respond:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return answering(200, {"object": "list", "data": data, "model": "tiny"})


def indexed(*indices: object) -> Respond:
    return answering(200, {"data": [{"index": index, "embedding": VECTOR} for index in indices]})


async def test_each_text_gets_its_own_vector(server: FaultyModelServer, embedder: OpenAIEmbedder) -> None:
    """The server answers in reverse: the index says whose a vector is."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        texts: Any = server.requests[-1][2]["input"]
        data = [{"index": place, "embedding": [float(text), 0, 0]} for place, text in enumerate(texts)]
        answering(200, {"data": data[::-1]})(handler)

    server.respond = respond
    texts = [str(number) for number in range(2 * BATCH + 1)]
    assert await embedder.embed(texts) == [[float(text), 0.0, 0.0] for text in texts]
    inputs: list[Any] = [document["input"] for _, _, document in server.requests]
    assert [len(texts) for texts in inputs] == [BATCH, BATCH, 1]
    path, headers, _ = server.requests[0]
    assert (path, headers["authorization"]) == ("/v1/embeddings", f"Bearer {TOKEN}")


async def test_no_texts_are_no_request(server: FaultyModelServer, embedder: OpenAIEmbedder) -> None:
    assert await embedder.embed([]) == []
    assert not server.requests


async def test_it_is_what_it_was_configured_to_be(embedder: OpenAIEmbedder) -> None:
    assert (embedder.model, embedder.dimensions, embedder.local) == ("tiny", 3, False)


@pytest.mark.parametrize(
    ("model", "sent"), [("tiny", {}), ("text-embedding-3-small", {"dimensions": 3}), ("text-embedding-ada-002", {})]
)
async def test_only_models_that_shorten_their_vectors_are_asked_to(
    server: FaultyModelServer, model: str, sent: dict[str, int]
) -> None:
    server.respond = embedding(VECTOR)
    embedder = OpenAIEmbedder(server.url, TOKEN, model=model, dimensions=3)
    assert await embedder.embed(["x"]) == [VECTOR]
    await embedder.aclose()
    assert server.requests[0][2] == {"model": model, "input": ["x"], **sent}


async def test_a_long_text_is_cut(server: FaultyModelServer, embedder: OpenAIEmbedder) -> None:
    server.respond = embedding(VECTOR)
    await embedder.embed(["é" * 1_000_000])
    assert server.requests[0][2]["input"] == ["é" * (TEXT_BYTES // 2)]


@pytest.mark.parametrize("vector", [[], VECTOR[:2], [*VECTOR, 1.0]], ids=len)
async def test_another_dimension_is_for_an_operator_to_mend(
    server: FaultyModelServer, embedder: OpenAIEmbedder, vector: list[float]
) -> None:
    server.respond = embedding(VECTOR, vector)
    with pytest.raises(StoreBlockedError, match=f"vectors of {len(vector)} .* configure dimensions = {len(vector)}"):
        await embedder.embed(["x", "y"])


@pytest.mark.parametrize(
    "respond",
    [indexed(), indexed(0), indexed(0, 1, 2), indexed(0, 0), indexed(1, 2), indexed(-1, 0), indexed(None, 1)],
)
async def test_vectors_are_as_many_as_the_texts(
    server: FaultyModelServer, embedder: OpenAIEmbedder, respond: Respond
) -> None:
    server.respond = respond
    with pytest.raises(StoreUnavailableError, match="address"):
        await embedder.embed(["x", "y"])


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "Infinity", "1e999", "null", '"0.5"'])
async def test_a_vector_that_is_not_of_numbers_is_rejected(
    server: FaultyModelServer, embedder: OpenAIEmbedder, number: str
) -> None:
    server.respond = raw(200, f'{{"data": [{{"index": 0, "embedding": [0.5, {number}, 0.25]}}]}}'.encode())
    with pytest.raises(StoreRejectedError, match="finite"):
        await embedder.embed(["x"])


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>hello</html>", b"[]", b"\xff", b'{"data"', b"{}", b'{"data": [{"index": 0}]}', b"x" * 1_000_000],
    ids=lambda body: repr(body[:30]),
)
async def test_what_is_no_model_server_is_said(
    server: FaultyModelServer, embedder: OpenAIEmbedder, body: bytes
) -> None:
    server.respond = raw(200, body)
    with pytest.raises(StoreUnavailableError, match="address"):
        await embedder.embed(["x"])


@pytest.mark.parametrize(
    ("respond", "expected"),
    [
        (refusing(401, f"Incorrect API key provided: {TOKEN}."), StoreBlockedError),
        (refusing(404, "no such model"), StoreBlockedError),
        (refusing(429, "slow down"), StoreUnavailableError),
        (refusing(429, "pay", code="insufficient_quota"), StoreBlockedError),
        (refusing(400, "this model has no dimensions", param="dimensions"), StoreBlockedError),
        (refusing(400, "too many tokens", param="input"), StoreRejectedError),
        (raw(500, b""), StoreUnavailableError),
    ],
)
async def test_each_status_is_the_error_that_it_means(
    server: FaultyModelServer, embedder: OpenAIEmbedder, respond: Respond, expected: type[StoreError]
) -> None:
    server.respond = respond
    with pytest.raises(expected) as caught:
        await embedder.embed(["x"])
    assert type(caught.value) is expected
    assert TOKEN not in str(caught.value)
    assert len(server.requests) == 1, "nothing is asked again"


@pytest.mark.parametrize("fault", ["silent", "dripping"])
async def test_no_answer_is_waited_for_longer_than_the_timeout(server: FaultyModelServer, fault: str) -> None:
    server.dripped = json.dumps({"data": [{"index": 0, "embedding": VECTOR}]}).encode()
    server.respond = getattr(server, fault)
    async with httpx.AsyncClient() as client:
        embedder = OpenAIEmbedder(server.url, TOKEN, model="tiny", dimensions=3, timeout=SHORT, client=client)
        with pytest.raises(StoreUnavailableError):
            await embedder.embed(["x"])
        await embedder.aclose()
        assert not client.is_closed


@pytest.mark.parametrize(
    ("url", "token", "dimensions", "named"),
    [("x", TOKEN, 3, "address"), ("https://x", "", 3, "token"), ("https://x", TOKEN, 0, "dimensions")],
)
async def test_a_setting_that_cannot_work_is_told_at_once(url: str, token: str, dimensions: int, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        OpenAIEmbedder(url, token, model="tiny", dimensions=dimensions)
