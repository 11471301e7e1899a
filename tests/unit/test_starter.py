"""The first configuration: whatever is answered, it can be read, and says what is the default anyway."""

import tomllib
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgememory import ConfigError, EdgeMemory, Policy
from edgememory.cli.init import command
from edgememory.config import (
    Config,
    FileOutboxConfig,
    OpenAIEmbedderConfig,
    OriginConfig,
    RedisCacheConfig,
    RedisOutboxConfig,
    RuleExtractorConfig,
    UpstashCacheConfig,
    WorkersCacheConfig,
    WorkersOutboxConfig,
    read_config,
)
from edgememory.starter import Answers, CacheKind, OutboxKind, configuration, environment, parse_replicas

CACHES: Mapping[CacheKind, list[type]] = {
    "redis": [RedisCacheConfig],
    "upstash": [UpstashCacheConfig],
    "workers": [WorkersCacheConfig],
    "none": [],
}
OUTBOXES: tuple[OutboxKind, ...] = ("file", "redis", "workers")
REPLICAS = ((), ("us-east", "ap_south"))


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, answers: Answers) -> Path:
    """Write the file, and set what the example of an environment names."""
    for line in environment(answers).splitlines():
        if not line.startswith("#"):
            monkeypatch.setenv(*line.split("=", 1))
    path = folder / "edgememory.toml"
    path.write_text(configuration(answers), encoding="utf-8")
    return path


@pytest.mark.parametrize(("cache", "outbox", "replicas"), list(product(CACHES, OUTBOXES, REPLICAS)))
def test_every_answer_makes_a_configuration_with_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: CacheKind, outbox: OutboxKind, replicas: tuple[str, ...]
) -> None:
    answers = Answers(namespace='a "clinic"', cache=cache, outbox=outbox, replicas=replicas)
    path = written(tmp_path, monkeypatch, answers)
    config = read_config(path)
    assert config.namespace == 'a "clinic"'
    assert config.origin == OriginConfig(dsn=config.origin.dsn)
    assert config.policy == Policy()
    assert isinstance(
        config.outbox, {"file": FileOutboxConfig, "redis": RedisOutboxConfig, "workers": WorkersOutboxConfig}[outbox]
    )
    assert [type(each) for each in config.caches] == CACHES[cache]
    assert {each.timeout for each in config.caches} <= {0.25 if cache == "workers" else 0.05}
    assert (config.extractor, config.embedder) == (RuleExtractorConfig(), None)
    servers = () if config.replica is None else config.replica.servers
    assert tuple(server.name for server in servers) == replicas
    assert set(tomllib.loads(path.read_text())) <= set(Config.__struct_fields__)
    EdgeMemory.from_config(path)


def test_the_embedder_has_only_to_be_uncommented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, monkeypatch, Answers(namespace="clinic", cache="redis", outbox="redis", replicas=()))
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    before, table, after = path.read_text().partition("# [embedder]\n")
    lines, policy, rest = after.partition("\n\n")
    assert policy
    path.write_text(before + table[2:] + "\n".join(line[2:] for line in lines.splitlines()) + policy + rest)
    assert isinstance(read_config(path).embedder, OpenAIEmbedderConfig)


def test_the_command_asks_four_questions_and_overwrites_nothing(tmp_path: Path) -> None:
    runner = CliRunner()
    folder = tmp_path / "agent"
    first = runner.invoke(command, ["--folder", str(folder)], input="clinic\nupstash\n\nus-east, ap-south\n")
    assert first.exit_code == 0, first.output
    assert first.output.count("]: ") + first.output.count("empty: ") == 4
    text = (folder / "edgememory.toml").read_text()
    assert 'namespace = "clinic"' in text
    assert 'type = "upstash"' in text
    assert 'type = "redis"\nurl = { env = "OUTBOX_REDIS_URL" }' in text
    assert "REPLICA_AP_SOUTH_URL=" in (folder / ".env.example").read_text()
    again = runner.invoke(command, ["--folder", str(folder)], input="\n\n\n\n")
    assert again.exit_code == 1
    assert "already" in again.output
    assert (folder / "edgememory.toml").read_text() == text


def test_answers_that_are_given_are_not_asked_for(tmp_path: Path) -> None:
    options = ["--namespace=a", "--cache=none", "--outbox=file", "--replicas="]
    done = CliRunner().invoke(command, ["--folder", str(tmp_path), *options])
    assert done.exit_code == 0, done.output
    assert "[" not in done.output.splitlines()[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--namespace="], "namespace"),
        (["--namespace=" + 65 * "x"], "namespace"),
        (["--cache=memcached"], "'redis', 'upstash', 'workers', 'none'"),
        (["--replicas=us east"], "us east"),
        (["--replicas=a-b,a_b"], "name of its own"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_written(tmp_path: Path, options: list[str], told: str) -> None:
    given = {"--namespace": "a", "--cache": "none", "--outbox": "file", "--replicas": ""}
    given |= dict(option.split("=", 1) for option in options)
    done = CliRunner().invoke(
        command, ["--folder", str(tmp_path), *(f"{name}={value}" for name, value in given.items())]
    )
    assert done.exit_code != 0
    assert told in done.output
    assert not list(tmp_path.iterdir())


def test_names_of_replicas() -> None:
    assert parse_replicas(" us-east , ap_south,,") == ["us-east", "ap_south"]
    with pytest.raises(ConfigError, match="letter first"):
        parse_replicas("1st")
