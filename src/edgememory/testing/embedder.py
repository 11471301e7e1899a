"""An embedder for tests: no model, no I/O, the same vectors everywhere and always."""

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from hashlib import shake_256
from typing import TYPE_CHECKING

from edgememory.recall.embedder import Vector

_WORD = re.compile(r"\w+")


class HashEmbedder:
    """Gives each word a direction by its hash; a text's vector is their sum, of length 1.

    Texts are the nearer, the more words they share, in whatever order and case. What they mean plays no part.
    """

    def __init__(self, dimensions: int = 64) -> None:
        """With fewer *dimensions*, words that have nothing in common are nearer by chance."""
        self._dimensions = dimensions

    @property
    def model(self) -> str:
        return f"hash-{self._dimensions}"

    @property
    def dimensions(self) -> int:
        return self._dimensions

    @property
    def local(self) -> bool:
        return True

    async def warm(self) -> None: ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [self._vector(text) for text in texts]

    async def aclose(self) -> None: ...

    def _vector(self, text: str) -> Vector:
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        directions = [_direction(word, self._dimensions) for word in words]
        summed = [math.fsum(parts) for parts in zip(*directions, strict=True)]
        if not any(summed):  # no words, or such as cancel each other out
            summed = list(_direction(text, self._dimensions))
        length = math.hypot(*summed)
        return [part / length for part in summed]


@lru_cache(maxsize=10_000)
def _direction(word: str, dimensions: int) -> tuple[float, ...]:
    # A half is never 0: no direction is without a length.
    return tuple(byte - 127.5 for byte in shake_256(word.encode(errors="surrogatepass")).digest(dimensions))


if TYPE_CHECKING:
    from edgememory.recall.embedder import Embedder

    _: type[Embedder] = HashEmbedder
