"""An embedder in the process itself: static vectors of model2vec, a table that is looked up."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

try:
    from model2vec import StaticModel
except ImportError as error:
    raise ImportError(f"this needs the extra `model2vec` ({error}): pip install 'edgememory[model2vec]'") from error

from anyio import to_thread

from edgememory.errors import ErrorMap, StoreBlockedError, translated
from edgememory.recall.embedder import Vector

EMBEDDER = "model2vec"
SHORT = 1000
"""Characters that are embedded at once: a question takes some 0.2 ms, this many take 1 ms. More go to a thread."""

# What reads tokenizers raises bare `Exception`s of damaged files. The hub's errors are `OSError`s: unavailable.
_ERRORS: ErrorMap = {Exception: StoreBlockedError}


class Model2VecEmbedder:
    """Looks the vectors of words up in a model of model2vec's, here: nothing is sent anywhere. asyncio and trio.

    Needs the extra `model2vec`: 110 MB with numpy and tokenizers, and no PyTorch. A text of which the model knows no
    word has a vector of zeros, which is near nothing.
    """

    def __init__(self, model: str | Path) -> None:
        """*model* is a folder, or a name on the Hugging Face hub: then it is downloaded once, at first use.

        A `str` is a folder if there is one, or if it begins with `.` or `/`.
        """
        self._source = model if isinstance(model, str) else str(model)
        self._is_folder = isinstance(model, Path) or model.startswith((".", "/")) or Path(model).is_dir()
        self._lock = Lock()
        self._loaded: StaticModel | None = None

    @property
    def model(self) -> str:
        """The name on the hub, or the folder's without those above it: give a changed model another."""
        return Path(self._source).resolve().name if self._is_folder else self._source

    @property
    def dimensions(self) -> int:
        """What the model has. Loads it where `warm` or `embed` have not yet: that blocks."""
        return int(self._load().dim)

    @property
    def local(self) -> bool:
        return True

    async def warm(self) -> None:
        """Load the model, in a worker thread: a tenth of a second, or a download.

        Raises:
            StoreUnavailableError: the hub cannot be reached.
            StoreBlockedError: there is no such model, or what is there is none.
        """
        if self._loaded is None:
            # Whoever waits no longer is let go: the thread loads on, for who comes later.
            await to_thread.run_sync(self._load, abandon_on_cancel=True)

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return one vector a text, in their order: of one short text at once, else from a worker thread.

        Raises:
            StoreError: the model cannot be loaded; see `warm`.
        """
        await self.warm()
        if sum(map(len, texts)) <= SHORT:
            return self._embedded(texts)
        return await to_thread.run_sync(self._embedded, texts)

    async def aclose(self) -> None: ...

    def _embedded(self, texts: Sequence[str]) -> Sequence[Vector]:
        if not texts:
            return []
        # Of many texts model2vec would use all processors, and tell the process so by an environment variable.
        found: list[Vector] = self._load().encode(list(texts), use_multiprocessing=False).tolist()
        return found

    def _load(self) -> StaticModel:
        with self._lock, translated(_ERRORS, store=EMBEDDER, operation="load"):
            if self._loaded is None:
                self._loaded = _from_folder(self._source) if self._is_folder else _from_hub(self._source)
            return self._loaded


def _from_folder(folder: str) -> StaticModel:
    if not Path(folder).is_dir():
        message = f"there is no folder {folder}: give that of a model, or a model's name on the hub, as owner/name"
        raise StoreBlockedError(message, store=EMBEDDER, operation="load")
    return StaticModel.from_pretrained(folder)


def _from_hub(name: str) -> StaticModel:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        # Not forced: what has been downloaded is used, also where the hub is out of reach.
        return StaticModel.from_pretrained(name, force_download=False)
    except RepositoryNotFoundError as error:
        message = f"there is no model {name!r} on the hub for who asks (HF_TOKEN), and no such folder here"
        raise StoreBlockedError(message, store=EMBEDDER, operation="load") from error


if TYPE_CHECKING:
    from edgememory.recall.embedder import Embedder

    _: type[Embedder] = Model2VecEmbedder
