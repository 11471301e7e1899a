"""Entries as bytes: one JSON document, readable in any dashboard, its format number first."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from edgememory.errors import CorruptEntryError
from edgememory.models import Entry, Snapshot, Vectors

FORMAT = 1


_Seconds = Annotated[float, Meta(ge=0, le=2**53 / 1_000_000)]
"""What an order can hold in microseconds."""


class _Document(Struct, kw_only=True, omit_defaults=True):
    format: int
    synced_at: _Seconds
    tentative_at: _Seconds = 0.0
    snapshot: Snapshot
    vectors: Vectors | None = None


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Document)


def encode(entry: Entry) -> bytes:
    """Return the entry's document, UTF-8."""
    return _ENCODER.encode(
        _Document(
            format=FORMAT,
            synced_at=entry.synced_at,
            tentative_at=entry.tentative_at,
            snapshot=entry.snapshot,
            vectors=entry.vectors,
        )
    )


def decode(raw: bytes | str) -> Entry:
    """Return the entry in *raw*; unknown fields are ignored.

    Raises:
        CorruptEntryError: *raw* is no entry, or of a format that this version does not know. Nothing else is
            raised, whatever the bytes.
    """
    try:
        document = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CorruptEntryError(f"not an entry: {error}") from error
    if document.format != FORMAT:
        raise CorruptEntryError(f"entry has format {document.format}; this version reads format {FORMAT}")
    if document.snapshot.erased_at > document.snapshot.version:
        raise CorruptEntryError("not an entry: its user was erased after its version")
    return Entry(
        snapshot=document.snapshot,
        synced_at=document.synced_at,
        tentative_at=document.tentative_at,
        vectors=document.vectors,
    )
