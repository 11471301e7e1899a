"""The code of "A LiveKit agent that remembers" is an agent, and its configuration is one."""

import re
from pathlib import Path

import pytest
from livekit.agents import AgentServer

from edgememory import EdgeMemory
from edgememory.config import read_config
from edgememory.integrations.livekit import Call, Caller, MemoryAgent, Verified
from tests.docs.fences import fences

PAGE = "docs/how-to/livekit.md"


def test_the_agent_is_a_server_with_its_hooks() -> None:
    module: dict[str, object] = {"__name__": "agent"}
    exec(fences(PAGE, "python")[0], module)
    assert isinstance(module["server"], AgentServer)


@pytest.mark.anyio
async def test_the_receptionist_tells_nothing_before_the_pin(tmp_path: Path) -> None:
    module: dict[str, object] = {"__name__": "receptionist"}
    exec(fences(PAGE, "python")[1], module)
    async with EdgeMemory.in_memory() as memory, memory.session("+4122") as session:
        call = Call(session, Caller("+4122", Verified.CALLER_ID))
        receptionist = module["Receptionist"](call, "1234")
        assert isinstance(receptionist, MemoryAgent)
        assert await receptionist.check_pin(None, "1111") == "Wrong."
        assert not call.disclosed
        await receptionist.check_pin(None, "1234")
        assert call.disclosed


def test_the_configuration_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "OUTBOX_REDIS_URL"):
        monkeypatch.setenv(name, "postgresql://u@h/d" if name == "DATABASE_URL" else "redis://h:6379/0")
    path = tmp_path / "edgememory.toml"
    path.write_text(fences(PAGE, "toml")[0], encoding="utf-8")
    assert len(read_config(path).caches) == 2


def test_what_is_installed_has_the_drivers_of_the_configuration_and_the_command() -> None:
    install, *commands = [line for fence in fences(PAGE, "console") for line in fence.splitlines()]
    (extras,) = re.findall(r"'edgememory\[(.+?)\]'", install)
    used = {"cli", "livekit", "postgres"} | (set(re.findall(r'type = "(\w+)"', fences(PAGE, "toml")[0])) - {"host"})
    assert set(extras.split(",")) == used
    assert [line for line in commands if line.startswith("$ edgememory ")] == [
        "$ edgememory migrate --config edgememory.toml",
        "$ edgememory doctor --config edgememory.toml",
    ]
