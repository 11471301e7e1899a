"""The configuration that is shown is read, names every setting, and its grants are enough."""

import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner
from msgspec import Struct

from edgememory import ConfigError, EdgeMemory, Policy, UserKey
from edgememory.cli import main
from edgememory.config import (
    Config,
    FileOutboxConfig,
    HostCacheConfig,
    OpenAIEmbedderConfig,
    OpenAIExtractorConfig,
    OriginConfig,
    RedisCacheConfig,
    RedisOutboxConfig,
    ReplicaConfig,
    ReplicaServerConfig,
    WorkersOutboxConfig,
    config_from_env,
    read_config,
)
from edgememory.stores.postgres import PostgresPrimary
from edgememory.testing.talk import Talk
from tests.docs.fences import ROOT, fences
from tests.raw_postgres import raw_connection

PAGE = "docs/how-to/configure.md"
[TOML] = fences(PAGE, "toml")
[GRANTS] = fences(PAGE, "sql")
SEAL_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATABASE_URL", "postgresql://geneva.example/edgememory")
    monkeypatch.setenv("EDGE_REDIS_URL", "redis://cache.sjc.example:6379/0")
    monkeypatch.setenv("EDGEMEMORY_KEY_SECRET", "0123456789abcdef")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.setenv("EDGEMEMORY_SEAL_KEY", SEAL_KEY)
    monkeypatch.setenv("REPLICA_US_EAST_URL", "postgresql://replica.us-east.example/edgememory")
    path = tmp_path / "edgememory.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def test_the_file_is_read_as_the_page_says(file: Path) -> None:
    config = read_config(file, region="sjc")
    assert config.origin == OriginConfig(dsn="postgresql://geneva.example/edgememory")
    assert config.caches == (
        HostCacheConfig(path="/dev/shm/edgememory/cache.sqlite", seal_keys=(SEAL_KEY,)),
        RedisCacheConfig(url="redis://cache.sjc.example:6379/0", region="sjc"),
    )
    assert config.replica == ReplicaConfig(
        servers=(
            ReplicaServerConfig(name="us-east", dsn="postgresql://replica.us-east.example/edgememory"),
            ReplicaServerConfig(name="ap-south", dsn="postgresql://replica.ap-south.example/edgememory"),
        )
    )
    assert config.namespace == "default"
    assert config.policy == Policy()
    assert [cache.name for cache in read_config(file, region="fra").caches] == ["host", "redis-fra"]
    assert [cache.name for cache in read_config(file, region="nrt").caches] == ["host"]
    EdgeMemory.from_config(file, region="sjc")


def test_the_file_names_every_setting() -> None:
    shown = tomllib.loads(TOML)
    assert _missing(Config, shown) == set()
    assert _missing(OriginConfig, shown["origin"]) == set()
    assert _missing(FileOutboxConfig, shown["outbox"]) == {"type"}
    assert _missing(HostCacheConfig, shown["caches"][0]) == {"type", "region"}
    assert _missing(RedisCacheConfig, shown["caches"][1]) == {"type"}
    assert _missing(OpenAIExtractorConfig, shown["extractor"]) == {"type"}
    assert _missing(OpenAIEmbedderConfig, shown["embedder"]) == {"type"}
    assert _missing(ReplicaConfig, shown["replica"]) == set()
    assert _missing(ReplicaServerConfig, shown["replica"]["servers"][0]) == set()
    assert _missing(Policy, shown["policy"]) == set()


def _missing(settings: type[Struct], shown: dict[str, object]) -> set[str]:
    return set(settings.__struct_fields__) ^ set(shown)


def test_the_agent_must_know_its_region(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("EDGEMEMORY_REGION", "FLY_REGION"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError, match="EDGEMEMORY_REGION"):
        read_config(file)
    monkeypatch.setenv("FLY_REGION", "fra")
    assert read_config(file).caches[1].region == "fra"
    monkeypatch.setenv("EDGEMEMORY_REGION", "sjc")
    assert read_config(file).caches[1].region == "sjc"


def test_the_variables_are_those_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (ROOT / PAGE).read_text(encoding="utf-8").split("## Without a file")[1].split("\n## ")[0]
    variables = re.findall(r"^\| `(EDGEMEMORY_\w+)`", table, re.MULTILINE)
    scheme = {"EDGEMEMORY_ORIGIN_DSN": "postgres://", "EDGEMEMORY_WORKERS_URL": "https://"}
    for variable in variables:
        prefix = scheme.get(variable, "redis://" if variable.endswith("URL") else "")
        value = "true" if "DURABLE" in variable else prefix + variable.lower()
        monkeypatch.setenv(variable, value)
    config = config_from_env()
    assert config.origin.dsn == "postgres://edgememory_origin_dsn"
    assert config.outbox == RedisOutboxConfig(url="redis://edgememory_outbox_url", assume_durable=True)
    monkeypatch.delenv("EDGEMEMORY_OUTBOX_URL")
    assert config_from_env().outbox == FileOutboxConfig(path="edgememory_outbox_path", durable_disk=True)
    monkeypatch.delenv("EDGEMEMORY_OUTBOX_PATH")
    assert config_from_env().outbox == WorkersOutboxConfig(
        url="https://edgememory_workers_url", token="edgememory_workers_token"
    )
    assert [cache.url for cache in config.caches if not isinstance(cache, HostCacheConfig)] == [
        "redis://edgememory_redis_url",
        "https://edgememory_workers_url",
    ]
    assert config.namespace == "edgememory_namespace"


@pytest.mark.parametrize("line", [line for block in fences(PAGE, "console") for line in block.splitlines()])
def test_the_commands_are_there(line: str) -> None:
    name, *options = line.removeprefix("$ edgememory ").split()
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert all(option in shown.output for option in options if option.startswith("--"))


@pytest.fixture
async def agents_dsn(migrated_database: str) -> AsyncIterator[str]:
    """A role that may do what the page grants, and no more."""
    role, password = f"agent_{uuid4().hex}", uuid4().hex
    async with raw_connection(migrated_database) as connection:
        await connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        await connection.execute(GRANTS.replace("TO agent;", f"TO {role};"))
        yield re.sub(r"//[^@]+@", f"//{role}:{password}@", migrated_database)
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.anyio
async def test_the_granted_privileges_are_enough(agents_dsn: str) -> None:
    store, user = PostgresPrimary(agents_dsn), UserKey("default", "user-42")
    try:
        talk = Talk(base=0)
        await store.commit(user, [talk.says("Hello."), talk.remembers("Lives in Lisbon")])
        assert (await store.get(user)).snapshot.facts[0].text == "Lives in Lisbon"
        assert len((await store.get_messages(user)).items) == 1
        assert (await store.delete(user)).snapshot.is_tombstone
    finally:
        await store.aclose()
