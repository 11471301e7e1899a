"""Entries to and from bytes, changes made, snapshots cut, the block for the prompt."""

from collections.abc import AsyncIterator, Callable
from functools import partial

import msgspec

from benchmarks.measure import Result, called, compare
from benchmarks.people import entry_of, entry_of_8_kib, full_entry, message
from edgememory import codec
from edgememory.apply import apply, bound
from edgememory.context import context_block
from edgememory.lab.people import people
from edgememory.models import Entry, Snapshot

_NUMBER = 200
_MOST_TOKENS = 500
_ALL_TOKENS = 100_000
_BLOCK_AT_MOST = 200.0  # microseconds: a turn must not feel it


async def measured() -> AsyncIterator[Result]:
    large, usual = entry_of_8_kib(), entry_of(people("pure", 1)[0])
    for entry, size in ((usual, "3 KiB"), (large, "8 KiB")):
        encoding = _encoding(entry)
        yield await _beside(f"codec.encode, {size}", partial(codec.encode, entry), "msgspec's encoding", encoding)
        document, snapshot = codec.encode(entry), msgspec.json.encode(entry.snapshot)
        decoding = partial(msgspec.json.Decoder(Snapshot).decode, snapshot)
        yield await _beside(f"codec.decode, {size}", partial(codec.decode, document), "msgspec's decoding", decoding)
    snapshot_of_8_kib = large.snapshot
    changes = [message(base=snapshot_of_8_kib.version)]
    making, cutting = partial(apply, snapshot_of_8_kib, changes), partial(bound, snapshot_of_8_kib)
    encoding = _encoding(large)
    yield await _beside("apply, one message to 8 KiB", making, "msgspec's encoding", encoding)
    yield await _beside("bound, 8 KiB that fit", cutting, "msgspec's encoding, by which it weighs", encoding)
    block = partial(context_block, usual.snapshot, max_tokens=_MOST_TOKENS)
    yield await _beside(f"context_block, 3 KiB to {_MOST_TOKENS} tokens", block, "msgspec's encoding", _encoding(usual))
    full = full_entry()
    decoding = partial(msgspec.json.Decoder(Snapshot).decode, msgspec.json.encode(full.snapshot))
    for tokens, cut in (
        (_MOST_TOKENS, f"a full snapshot to {_MOST_TOKENS} tokens"),
        (_ALL_TOKENS, "all of a full snapshot"),
    ):
        block = partial(context_block, full.snapshot, max_tokens=tokens)
        yield await _beside(f"context_block, {cut}", block, "msgspec's decoding", decoding, ours_at_most=_BLOCK_AT_MOST)


async def _beside(
    name: str,
    ours: Callable[[], object],
    beside: str,
    yardstick: Callable[[], object],
    *,
    ours_at_most: float | None = None,
) -> Result:
    rounds = called(ours, number=_NUMBER), called(yardstick, number=_NUMBER)
    return await compare(name, *rounds, beside=beside, unit="µs", ours_at_most=ours_at_most)


def _encoding(entry: Entry) -> Callable[[], bytes]:
    return partial(msgspec.json.Encoder().encode, entry.snapshot)
