"""What a cached user takes of a process's memory, and holding one."""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Callable
from functools import partial

from benchmarks.measure import Result, Round, called, compare
from benchmarks.people import USER, entry_of, entry_of_8_kib
from edgememory.codec import encode
from edgememory.lab.people import people
from edgememory.models import UserKey
from edgememory.stores.memory import InMemoryStore

_USERS = 500
_ROUNDS = 5


async def measured() -> AsyncIterator[Result]:
    entry = entry_of_8_kib()
    yield await compare(
        "InMemoryStore.hold, 8 KiB",
        called(partial(InMemoryStore().hold, USER, entry, keep=3600), number=500),
        called(partial(encode, entry), number=500),
        beside="codec.encode, by which it weighs",
        unit="µs",
    )
    yield await compare(
        "InMemoryStore, a user of 3 KiB",
        _traced(_held),
        _traced(_encoded),
        beside="a dict of the encoded bytes",
        unit="bytes",
        rounds=_ROUNDS,
        note="traced by tracemalloc",
    )
    yield await compare(
        "InMemoryStore, a user of 3 KiB",
        _traced(_held),
        _weighed,
        beside="what it counts towards max_bytes",
        unit="bytes",
        rounds=_ROUNDS,
    )


def _traced(fill: Callable[[], object]) -> Round:
    """A round that measures the memory of what *fill* returns: a cache of all the users."""

    async def once() -> float:
        gc.collect()  # also empties the lists of free objects: what is taken from them would not be traced
        tracemalloc.start()
        try:
            cache = fill()
            size, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        del cache
        return size / _USERS

    return once


async def _weighed() -> float:
    store = _held()
    return sum(held.size for held in map(store.peek, _keys()) if held is not None) / _USERS


def _keys() -> list[UserKey]:
    return [UserKey("default", f"user-{number}") for number in range(_USERS)]


def _held() -> InMemoryStore:
    store = InMemoryStore()
    for key, person in zip(_keys(), people("cached", _USERS), strict=True):
        store.hold(key, entry_of(person), keep=3600)
    return store


def _encoded() -> dict[UserKey, bytes]:
    persons = zip(_keys(), people("cached", _USERS), strict=True)
    # Copied, as a driver hands them over: msgspec leaves room behind what it has encoded.
    return {key: bytes(memoryview(encode(entry_of(person)))) for key, person in persons}
