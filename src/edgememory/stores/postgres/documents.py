"""Entries as the schema's functions return them."""

from msgspec.structs import replace

from edgememory.apply import bound
from edgememory.codec import decode
from edgememory.models import Entry

GET = "SELECT edgememory.get($1, $2)::text"


def entry_of(raw: str | bytes) -> Entry:
    """Decode an entry, and bound it in bytes: SQL has bounded it in counts only."""
    entry = decode(raw)
    return replace(entry, snapshot=bound(entry.snapshot))
