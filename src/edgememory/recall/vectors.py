"""Vectors of one byte a dimension: small enough for a snapshot to carry, exact enough to compare."""

import math
from collections.abc import Mapping
from operator import mul

from edgememory.models import Vectors
from edgememory.recall.embedder import Vector

MOST_DIMENSIONS = 512
"""Of longer vectors a snapshot carries none: the 79 texts of one would be larger than the snapshot."""
_SCALE = 127
NEAREST = 10
"""How many texts are taken for near; the others are only less far."""


def quantised(vector: Vector) -> bytes | None:
    """Return the direction of *vector* as signed bytes; `None` for one that has none, or too many dimensions."""
    length = math.sqrt(math.fsum(part * part for part in vector))
    if not length or not math.isfinite(length) or len(vector) > MOST_DIMENSIONS:
        return None
    return bytes(round(part / length * _SCALE) & 0xFF for part in vector)


def similarities(vectors: Vectors, vector: Vector) -> Mapping[str, float]:
    """Return the cosines of the texts nearest to *vector*, by id. Costs some 8 µs a text of 256 dimensions."""
    wanted = quantised(vector)
    if wanted is None:
        return {}
    signed = memoryview(wanted).cast("b").tolist()
    cosines = {
        id: sum(map(mul, signed, memoryview(small).cast("b"))) / _SCALE**2
        for id, small in vectors.of.items()
        if len(small) == len(signed)
    }
    nearest = sorted(cosines, key=lambda id: cosines[id], reverse=True)[:NEAREST]
    return {id: cosines[id] for id in nearest if cosines[id] > 0}
