"""Entries and candidates as the schema's functions return them."""

import math

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edgememory.apply import bound
from edgememory.codec import decode
from edgememory.models import Entry
from edgememory.recall.embedder import Vector
from edgememory.recall.query import Candidates, Query

GET = "SELECT edgememory.get($1, $2)::text"
SEARCH_NEAR = "SELECT edgememory.search_near($1, $2, $3::json, $4)::text"
SEARCH = "SELECT edgememory.search($1, $2, $3::json)::text"


class _Near(Struct):
    found: Candidates
    similarities: dict[str, float]


_NEAR = msgspec.json.Decoder(_Near)
_CANDIDATES = msgspec.json.Decoder(Candidates)


def entry_of(raw: str | bytes) -> Entry:
    """Decode an entry, and bound it in bytes: SQL has bounded it in counts only."""
    entry = decode(raw)
    return replace(entry, snapshot=bound(entry.snapshot))


def query_document(query: Query, limit: int) -> str:
    """Return what `edgememory.search` reads."""
    document = {
        "terms": query.terms,
        "language": query.language,
        "filters": query.filters,
        "most": limit,
        "model": query.model,
    }
    return msgspec.json.encode(document).decode()


def candidates_of(raw: str) -> Candidates:
    """Decode what `edgememory.search` has found."""
    return _CANDIDATES.decode(raw)


def near_of(raw: str) -> Candidates:
    """Decode what `edgememory.search_near` has found."""
    near = _NEAR.decode(raw)
    items = (replace(item, similarity=near.similarities.get(item.id)) for item in near.found.items)
    return replace(near.found, items=tuple(items))


def vector_text(vector: Vector) -> str | None:
    """Return a vector as Postgres reads it; `None` for one without direction, which is near nothing."""
    length = math.sqrt(math.fsum(part * part for part in vector))
    if not length or not math.isfinite(length):
        return None
    return f"[{','.join(f'{part / length:.6g}' for part in vector)}]"
