"""The Worker as the lab runs it: installed when it is first asked for, and as far away as the world file says."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgememory.lab.servers.worker import NoRuntimeError, WorkerServer, installed_runtime
from tests.worker.client import caller, new_key, path, put

NEAR_MS, FAR_MS = "0", "1500"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which nothing is installed, with programs of its own on PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path


def program(environment: Path, name: str, script: str) -> None:
    file = environment / "bin" / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(("there", "lacking"), [([], "node"), (["node"], "npm")])
def test_without_node_or_npm_it_is_said_what_to_install(environment: Path, there: list[str], lacking: str) -> None:
    for name in there:
        program(environment, name, "exit 0")
    with pytest.raises(NoRuntimeError, match=f"^{lacking} not found: install Node 20 or later"):
        installed_runtime()


def test_an_installation_that_fails_says_why_and_leaves_nothing(environment: Path) -> None:
    program(environment, "node", "exit 0")
    program(environment, "npm", "echo no network >&2; exit 1")
    with pytest.raises(NoRuntimeError, match="npm could not install Cloudflare's runtime: no network"):
        installed_runtime()
    assert not list((environment / "share/edgememory").iterdir())
    program(environment, "npm", "echo installed > node_modules")
    runtime = installed_runtime()
    assert {file.name for file in runtime.iterdir()} == {"package.json", "package-lock.json", "node_modules"}
    program(environment, "npm", "echo not asked again >&2; exit 1")
    assert installed_runtime() == runtime


def test_an_environment_that_cannot_be_written_is_named(environment: Path) -> None:
    program(environment, "node", "exit 0")
    program(environment, "npm", "exit 0")
    (environment / "share").write_text("a file")
    with pytest.raises(NoRuntimeError, match=r"cannot install Cloudflare's runtime into .*share/edgememory: "):
        installed_runtime()


@pytest.fixture
def location(request: pytest.FixtureRequest) -> Iterator[WorkerServer]:
    first_read, distant_object = request.param
    bindings = {"TOKENS": "full-token", "FIRST_READ_MS": first_read, "DISTANT_OBJECT_MS": distant_object}
    server = WorkerServer(bindings=bindings)
    server.start()
    yield server
    server.close()


@pytest.mark.parametrize(
    ("location", "near", "first", "second"),
    [
        ((NEAR_MS, FAR_MS), "object", "kv", "kv"),
        ((FAR_MS, NEAR_MS), "object", "object", "object"),
        ((FAR_MS, "300"), "object", "object", "kv"),
    ],
    indirect=["location"],
)
def test_the_nearer_of_kv_and_the_object_answers(location: WorkerServer, near: str, first: str, second: str) -> None:
    key = new_key()
    with caller(location) as client:
        put(client, key, "text", "1.1.0")

        def source() -> str:
            return client.get(path(key)).headers["Edgememory-Source"]

        assert source() == near
        location.move_elsewhere([key])
        assert source() == first
        client.post("/v1/entries/get", json={"keys": [key]})  # which waits for KV, however far it is
        assert source() == second
