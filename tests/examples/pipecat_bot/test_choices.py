"""Who hears, thinks and speaks, and where memory is, follows from the environment alone."""

import pytest

from edgememory import ConfigError, EdgeMemory, EdgeMemoryError
from edgememory.config import RedisOutboxConfig, read_config
from tests.examples.pipecat_bot.conftest import EXAMPLE
from voicebot.place import SharedMemory, memory_from, origin_is_here
from voicebot.providers import Providers, chosen


@pytest.mark.parametrize(
    ("environment", "providers"),
    [
        ({}, Providers("pocketsphinx", "scripted", "flite")),
        ({"OPENAI_API_KEY": "k"}, Providers("pocketsphinx", "openai", "flite")),
        ({"OPENAI_BASE_URL": "http://localhost:11434/v1"}, Providers("pocketsphinx", "openai", "flite")),
        ({"DEEPGRAM_API_KEY": "k"}, Providers("deepgram", "scripted", "flite")),
        ({"CARTESIA_API_KEY": "k"}, Providers("pocketsphinx", "scripted", "cartesia")),
        ({"OPENAI_API_KEY": "", "DEEPGRAM_API_KEY": "", "CARTESIA_API_KEY": ""}, chosen({})),
        (
            {"OPENAI_API_KEY": "k", "DEEPGRAM_API_KEY": "k", "CARTESIA_API_KEY": "k"},
            Providers("deepgram", "openai", "cartesia"),
        ),
    ],
)
def test_a_key_chooses_its_provider(environment: dict[str, str], providers: Providers) -> None:
    assert chosen(environment) == providers


def test_a_configuration_is_read_where_one_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        memory_from({"EDGEMEMORY_CONFIG": "nowhere.toml"})


def test_the_configuration_that_is_deployed_takes_what_the_example_of_an_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = (EXAMPLE / ".env.example").read_text(encoding="utf-8").splitlines()
    for name in (line.removesuffix("=") for line in lines if line.endswith("=")):
        monkeypatch.setenv(name, "postgresql://host/x" if name == "DATABASE_URL" else "redis://host")
    assert isinstance(read_config(EXAMPLE / "edgememory.toml").outbox, RedisOutboxConfig)


@pytest.mark.parametrize(
    ("environment", "here"), [({}, True), ({"EDGEMEMORY_CONFIG": ""}, True), ({"EDGEMEMORY_CONFIG": "x"}, False)]
)
def test_without_one_the_origin_is_here(environment: dict[str, str], here: bool) -> None:
    assert origin_is_here(environment) is here


async def test_calls_share_one_memory_which_closes_after_the_last() -> None:
    shared = SharedMemory(EdgeMemory.in_memory())
    async with shared.opened() as memory:
        async with shared.opened() as same:
            assert same is memory
        await memory.flush()
    with pytest.raises(EdgeMemoryError, match="not open"):
        await memory.flush()
