"""The doctor asks the models too: on a server that answers as it is told, and on Postgres with pgvector."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from edgememory.config import (
    Config,
    FileOutboxConfig,
    Model2VecEmbedderConfig,
    OpenAIEmbedderConfig,
    OpenAIExtractorConfig,
    OriginConfig,
    RuleExtractorConfig,
)
from edgememory.doctor import Part, examine
from edgememory.recall.openai import OpenAIEmbedder
from edgememory.stores.postgres.embeddings import open_embeddings
from tests.faults.model_server import TOKEN, FaultyModelServer, Respond, answering, faulty_model_server, refusing

VECTOR = [0.5, -1.0, 0.25]
EMBEDDED = answering(200, {"data": [{"index": 0, "embedding": VECTOR}]})
READ = json.dumps({"facts": [], "preferences": [], "name": None, "summary": None})
ANSWERED = answering(200, {"choices": [{"index": 0, "message": {"content": READ}, "finish_reason": "stop"}]})


@pytest.fixture
def server() -> Iterator[FaultyModelServer]:
    with faulty_model_server() as server:
        yield server


@pytest.fixture
def config(migrated_database: str, tmp_path: Path) -> Config:
    outbox = FileOutboxConfig(path=str(tmp_path / "outbox.sqlite"), durable_disk=True)
    return Config(origin=OriginConfig(dsn=migrated_database, timeout=60), outbox=outbox)


def embedder_at(server: FaultyModelServer, *, dimensions: int = 3) -> OpenAIEmbedderConfig:
    return OpenAIEmbedderConfig(url=f"{server.url}/v1", token=TOKEN, model="tiny", dimensions=dimensions)


def extractor_at(server: FaultyModelServer) -> OpenAIExtractorConfig:
    return OpenAIExtractorConfig(url=f"{server.url}/v1", token=TOKEN, model="tiny")


async def found(config: Config, name: str) -> Part:
    return next(part for part in (await examine(config)).parts if part.name == name)


async def test_an_embedder_that_answers_and_fits_the_schema_is_well(config: Config, server: FaultyModelServer) -> None:
    server.respond = EMBEDDED
    configured = embedder_at(server)
    embedder = OpenAIEmbedder(configured.url, configured.token, model="tiny", dimensions=3)
    async with open_embeddings(config.origin.dsn, embedder) as embeddings:
        await embeddings.prepare()
    await embedder.aclose()
    part = await found(replace(config, embedder=configured), "embedder")
    assert part.problem is None
    assert [step.name for step in part.steps] == ["resolve", "connect", "load", "embed", "schema"]


async def test_vectors_that_the_schema_has_not_are_a_problem(config: Config, server: FaultyModelServer) -> None:
    server.respond = EMBEDDED
    problem = (await found(replace(config, embedder=embedder_at(server)), "embedder")).problem
    assert problem is not None
    assert problem.startswith("schema: the embedder makes vectors of tiny, 3 dimensions, and the origin has no vectors")
    assert "edgememory reembed" in problem


async def test_other_dimensions_than_configured_are_a_problem(config: Config, server: FaultyModelServer) -> None:
    server.respond = EMBEDDED
    problem = (await found(replace(config, embedder=embedder_at(server, dimensions=4)), "embedder")).problem
    assert problem is not None
    assert problem.startswith("embed: ")
    assert "configure dimensions = 3" in problem


@pytest.mark.parametrize("respond", [refusing(401, "Incorrect API key"), answering(404, {})])
async def test_a_model_server_that_refuses_is_a_problem_of_each(
    config: Config, server: FaultyModelServer, respond: Respond
) -> None:
    server.respond = respond
    report = await examine(replace(config, embedder=embedder_at(server), extractor=extractor_at(server)))
    problems = [problem for problem in report.problems if "HTTP 40" in problem]
    assert [problem.split(":")[0] for problem in problems] == ["embedder", "extractor"]
    assert TOKEN not in "".join(report.problems)


async def test_an_extractor_that_answers_is_well(config: Config, server: FaultyModelServer) -> None:
    server.respond = ANSWERED
    part = await found(replace(config, extractor=extractor_at(server)), "extractor")
    assert part.problem is None
    assert [step.name for step in part.steps] == ["resolve", "connect", "extract"]


async def test_prose_in_the_place_of_json_is_a_problem(config: Config, server: FaultyModelServer) -> None:
    server.respond = answering(200, {"choices": [{"index": 0, "message": {"content": "Sure!"}}]})
    problem = (await found(replace(config, extractor=extractor_at(server)), "extractor")).problem
    assert problem is not None
    assert "could not be used" in problem


async def test_rules_need_no_server(config: Config) -> None:
    part = await found(replace(config, extractor=RuleExtractorConfig()), "extractor")
    assert (part.problem, part.at) == (None, "this process")


async def test_a_model_that_is_not_there_is_a_problem(config: Config, tmp_path: Path) -> None:
    nowhere = Model2VecEmbedderConfig(model=str(tmp_path / "nowhere"))
    problem = (await found(replace(config, embedder=nowhere), "embedder")).problem
    assert problem is not None
    assert problem.startswith("load: ")
