"""The README's ten lines run, and its commands are there."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from edgememory import EdgeMemory
from tests.docs.fences import ROOT, fences

[CODE] = fences("README.md", "python")
COMMANDS, CHECKS = fences("README.md", "sh")


def test_the_ten_lines_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    memory, names = EdgeMemory.in_memory(), dict[str, object]()
    monkeypatch.setattr(EdgeMemory, "from_config", lambda path: memory)
    exec(CODE, names)
    main = cast(Callable[[], Awaitable[None]], names["main"])
    answer = cast(Callable[[EdgeMemory, str], Awaitable[None]], names["answer"])

    async def twice() -> None:
        await main()
        async with EdgeMemory.in_memory() as memory:
            await answer(memory, "user-42")
            assert "Lives in Lisbon" not in capsys.readouterr().out
            await answer(memory, "user-42")
            assert "Lives in Lisbon" in capsys.readouterr().out

    asyncio.run(twice())
    assert memory.counters.changes_made == 2


def test_there_are_ten_lines_of_it() -> None:
    lines = [line for line in CODE.splitlines() if line and not line.strip().startswith("#")]
    assert len(lines) <= 11


def test_the_commands_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in (*COMMANDS.splitlines(), *CHECKS.splitlines()):
        if line.startswith("make "):
            target = line.removeprefix("make ").split()[0]
            assert f"\n{target}:" in makefile


def test_the_promises_are_checked_as_it_says() -> None:
    minute, one, _ = (line.partition("#")[0].split() for line in CHECKS.splitlines())
    assert minute[-2:] == ["--seeds", "400"]
    for command in ([*minute[:-1], "2"], one):
        assert command[0] == ".venv/bin/python"
        done = subprocess.run([sys.executable, *command[1:]], check=False, capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout
