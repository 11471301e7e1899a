"""Entries and candidates as the schema's functions return them."""

import msgspec
from msgspec.structs import replace

from edgememory.apply import bound
from edgememory.codec import decode
from edgememory.models import Entry
from edgememory.recall.query import Candidates, Query

GET = "SELECT edgememory.get($1, $2)::text"
SEARCH = "SELECT edgememory.search($1, $2, $3::json)::text"

_CANDIDATES = msgspec.json.Decoder(Candidates)


def entry_of(raw: str | bytes) -> Entry:
    """Decode an entry, and bound it in bytes: SQL has bounded it in counts only."""
    entry = decode(raw)
    return replace(entry, snapshot=bound(entry.snapshot))


def query_document(query: Query, limit: int) -> str:
    """Return what `edgememory.search` reads."""
    document = {"terms": query.terms, "language": query.language, "filters": query.filters, "most": limit}
    return msgspec.json.encode(document).decode()


def candidates_of(raw: str) -> Candidates:
    """Decode what `edgememory.search` has found."""
    return _CANDIDATES.decode(raw)
