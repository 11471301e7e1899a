"""What the example is deployed with fits together: files, settings and what the image holds."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dotenv import dotenv_values

from edgememory.config import HostCacheConfig, RedisCacheConfig, RedisOutboxConfig, read_config
from tests.docs.fences import ROOT

EXAMPLE = ROOT / "examples" / "livekit_agent"
SETTINGS = dotenv_values(EXAMPLE / ".env.example")
KEYS = {name: "" for name in SETTINGS if name.endswith("_API_KEY")} | {"OPENAI_BASE_URL": ""}


def test_the_memory_is_configured_by_what_the_example_of_an_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (EXAMPLE / "edgememory.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'env = "(\w+)"', text))
    assert named == {"DATABASE_URL", "OUTBOX_REDIS_URL", "CACHE_REDIS_URL"} <= SETTINGS.keys()
    for name in named:
        monkeypatch.setenv(name, "postgresql://db.example/memory" if name == "DATABASE_URL" else "redis://r.example")
    config = read_config(EXAMPLE / "edgememory.toml")
    assert isinstance(config.outbox, RedisOutboxConfig)
    assert [type(cache) for cache in config.caches] == [HostCacheConfig, RedisCacheConfig]


def test_every_variable_that_the_code_reads_is_in_the_example_of_an_environment() -> None:
    read = set()
    for name in ("agent.py", "providers.py"):
        read |= set(re.findall(r'environ\w*\.get\("(\w+)"', (EXAMPLE / name).read_text(encoding="utf-8")))
    assert read == {"OPENAI_BASE_URL", "OPENAI_MODEL", "MEMORY_FOLDER", "CALLER_ID"}
    assert read | {"OPENAI_API_KEY", "DEEPGRAM_API_KEY", "CARTESIA_API_KEY"} <= SETTINGS.keys()


def _image(folder: Path) -> Path:
    """What the Dockerfile copies, and the build is sent at all."""
    dockerfile = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8")
    sent = re.findall(r"^!(\S+)$", (EXAMPLE / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    for names in re.findall(r"^COPY (.+) \./$", dockerfile, re.MULTILINE):
        for name in names.split():
            assert name in sent
            shutil.copy(EXAMPLE / name, folder)
    return folder


def _started(image: Path, command: str = "start", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "agent.py", command],
        check=False,
        capture_output=True,
        text=True,
        cwd=image,
        env=os.environ | KEYS | environment,
        timeout=100,
    )


def test_an_agent_without_keys_does_not_take_calls(tmp_path: Path) -> None:
    done = _started(_image(tmp_path))
    assert done.returncode == 1
    assert "set the keys of .env.example before `start`" in done.stderr


def test_the_image_holds_what_the_agent_needs_and_a_missing_setting_is_named(tmp_path: Path) -> None:
    """It gets as far as its memory."""
    keys = {name: "key" for name in KEYS if name.endswith("_API_KEY")}
    done = _started(_image(tmp_path), **keys, MEMORY_FOLDER="", DATABASE_URL="")
    assert done.returncode == 1
    assert done.stdout.startswith("model: openai, hears: deepgram, speaks: cartesia\n")
    assert "DATABASE_URL is not set" in done.stderr
    assert ".env.example" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_needs_no_setting(tmp_path: Path) -> None:
    done = _started(_image(tmp_path), "--help", MEMORY_FOLDER="", DATABASE_URL="")
    assert done.returncode == 0, done.stderr
    assert "console" in done.stdout


def test_the_cli_is_told_which_agent() -> None:
    told = tomllib.loads((EXAMPLE / "livekit.toml").read_text(encoding="utf-8"))
    assert {table: set(told[table]) for table in told} == {"project": {"subdomain"}, "agent": {"id"}}
