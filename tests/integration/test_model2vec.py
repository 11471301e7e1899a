"""Vectors from a real model, as tiny as one can be: made here, saved to a folder, and loaded from there."""

import os
from pathlib import Path
from threading import Event, current_thread, main_thread

import anyio
import pytest
from model2vec import StaticModel

from edgememory.errors import StoreBlockedError
from edgememory.recall.model2vec import SHORT, Model2VecEmbedder
from tests.tiny_model import save_tiny_model

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("secret") / "tiny-model")


@pytest.fixture
def may_load() -> Event:
    event = Event()
    event.set()
    return event


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, may_load: Event) -> list[bool]:
    """Whether each load blocked the event loop."""
    loads: list[bool] = []
    load = StaticModel.from_pretrained

    def noted(*arguments: object, **more: object) -> object:
        loads.append(current_thread() is main_thread())
        may_load.wait()
        return load(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(StaticModel, "from_pretrained", noted)
    return loads


async def test_texts_of_like_words_are_near(folder: Path) -> None:
    embedder = Model2VecEmbedder(folder)
    tea, coffee, both = await embedder.embed(["Tea", "coffee!", "tea coffee"])
    assert tea == pytest.approx([1, 0, 0])
    assert coffee == pytest.approx([0.8, 0.6, 0])
    assert both == pytest.approx([0.9487, 0.3162, 0], abs=1e-4)
    assert {type(part) for part in tea} == {float}, "and not of numpy's"
    await embedder.aclose()


async def test_a_text_of_unknown_words_is_near_nothing(folder: Path) -> None:
    assert await Model2VecEmbedder(folder).embed(["zebra"]) == [[0, 0, 0]]


async def test_the_model_is_loaded_once_by_a_worker_thread(folder: Path, loads: list[bool], may_load: Event) -> None:
    embedder = Model2VecEmbedder(folder)
    assert loads == []
    may_load.clear()
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(embedder.embed, ["tea"])
        await anyio.wait_all_tasks_blocked()
        may_load.set()
    await embedder.warm()
    assert embedder.dimensions == 3
    assert loads == [False]


async def test_who_gives_up_waits_for_no_load(folder: Path, loads: list[bool], may_load: Event) -> None:
    embedder, scope, left = Model2VecEmbedder(folder), anyio.CancelScope(), anyio.Event()
    may_load.clear()

    async def ask() -> None:
        with scope:
            await embedder.embed(["tea"])
        left.set()

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        gave_up = left.is_set()
        may_load.set()
    assert gave_up
    await embedder.warm()
    assert loads == [False], "it was loaded all the same"


async def test_its_dimensions_are_known_without_being_asked_for_a_vector(folder: Path, loads: list[bool]) -> None:
    assert Model2VecEmbedder(folder).dimensions == 3
    assert loads == [True]


@pytest.mark.parametrize(
    ("texts", "inline"),
    [
        (["tea"], True),
        (["tea"] * 5, True),
        (["x" * SHORT], True),
        (["x" * (SHORT + 1)], False),
        (["tea"] * SHORT, False),
    ],
)
async def test_a_long_text_does_not_block_the_event_loop(
    folder: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], inline: bool
) -> None:
    inlined: list[bool] = []
    encode = StaticModel.encode

    def noted(*arguments: object, **more: object) -> object:
        inlined.append(current_thread() is main_thread())
        return encode(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(StaticModel, "encode", noted)
    assert len(await Model2VecEmbedder(folder).embed(texts)) == len(texts)
    assert inlined == [inline]


async def test_no_texts_are_no_vectors(folder: Path) -> None:
    assert await Model2VecEmbedder(folder).embed([]) == []


async def test_many_texts_leave_the_process_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    assert len(await Model2VecEmbedder(folder).embed(["tea"] * 10_001)) == 10_001
    assert "TOKENIZERS_PARALLELISM" not in os.environ


async def test_a_folder_is_called_by_its_last_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for given in (folder, str(folder), f"{folder}/", ".", "../tiny-model", Path("../tiny-model")):
        embedder = Model2VecEmbedder(given)
        assert (embedder.model, embedder.dimensions, embedder.local) == ("tiny-model", 3, True)
    monkeypatch.chdir(folder.parent.parent)
    assert Model2VecEmbedder(f"{folder.parent.name}/tiny-model").model == "tiny-model"


async def test_a_model_of_the_hub_is_called_as_there() -> None:
    assert Model2VecEmbedder("minishlab/potion-base-8M").model == "minishlab/potion-base-8M"


@pytest.mark.parametrize("name", ["./nothing", "/nothing/there"])
async def test_a_folder_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(StoreBlockedError, match=f"no folder {name}: give"):
        await Model2VecEmbedder(name).embed(["tea"])


async def test_what_is_no_name_of_a_model_is_told() -> None:
    with pytest.raises(StoreBlockedError, match="no such/na me/x"):
        await Model2VecEmbedder("no such/na me/x").warm()


@pytest.mark.parametrize("broken", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("content", ["", "{", None])
async def test_a_damaged_model_is_told(folder: Path, tmp_path: Path, broken: str, content: str | None) -> None:
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    if content is None:
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_text(content)
    embedder = Model2VecEmbedder(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreBlockedError, match=r"model2vec\.load"):
            await embedder.embed(["tea"])
