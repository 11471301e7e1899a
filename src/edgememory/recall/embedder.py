"""What makes vectors of texts."""

from collections.abc import Sequence
from typing import Protocol

Vector = Sequence[float]


class Embedder(Protocol):
    """Texts to vectors, of which two are near each other if their texts mean nearly the same.

    Failures are `StoreError`s, as a store's are: unavailable, blocked, or a text that is rejected.
    """

    @property
    def model(self) -> str:
        """What made a vector. Vectors of two models are never compared."""
        ...

    @property
    def dimensions(self) -> int:
        """The length of each vector."""
        ...

    @property
    def local(self) -> bool:
        """Whether it embeds a query within a millisecond, in this process: then `Session.recall` may ask it."""
        ...

    async def warm(self) -> None:
        """Load the model, or open a connection, ahead of the first text."""
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return one vector a text, in their order. Texts are not empty; long ones may be cut by the model."""
        ...

    async def aclose(self) -> None: ...
