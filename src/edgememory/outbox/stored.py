"""Changes as outboxes store them, and how many of them one claim carries."""

from collections.abc import Iterable

import msgspec

from edgememory.changes import Change

CLAIM_CHANGES = 256
CLAIM_BYTES = 1024 * 1024
"""A claim becomes one commit, which holds the lock of the user's row: keep it short."""

UNREADABLE = "the stored bytes are not this change"

_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[Change] = msgspec.json.Decoder(Change)


def encode(change: Change) -> bytes:
    return _ENCODER.encode(change)


def decode(id: str, raw: bytes) -> Change | None:
    """Return the change stored under *id*; `None` if the bytes are not it.

    The id is compared as well: a change that calls itself otherwise could never be acknowledged.
    """
    try:
        change = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return change if change.id == id else None


def portion(rows: Iterable[tuple[str, bytes]]) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Return the first changes of one user that fit into a claim, and the ids of unreadable ones among them.

    Takes no more *rows* than it needs. The first change always fits.
    """
    changes: list[Change] = []
    unreadable: list[str] = []
    size = 0
    for id, raw in rows:
        change = decode(id, raw)
        if change is None:
            unreadable.append(id)
            continue
        size += len(raw)
        if changes and size > CLAIM_BYTES:
            break
        changes.append(change)
        if len(changes) == CLAIM_CHANGES:
            break
    return tuple(changes), tuple(unreadable)
