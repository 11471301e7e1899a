"""What the caches and the pure core cost, each beside plain code that does the least that would do."""

import asyncio
import time
import timeit
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from statistics import median

import msgspec
import redis.asyncio as redis

from edgememory import codec
from edgememory.apply import apply, bound
from edgememory.changes import MessageAdded
from edgememory.ids import next_id
from edgememory.keys import fact_key
from edgememory.lab.servers import RedisServer
from edgememory.models import Entry, Fact, Message, Snapshot, UserKey
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.redis import RedisStore

ROUNDS = 20
USER = UserKey("default", "user-42")


def entry_of_8_kib() -> Entry:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    facts = [Fact(key=fact_key(str(n)), id=next_id(), text=f"Fact {n} " + "f" * 50, importance=5) for n in range(24)]
    messages = [
        Message(id=next_id(), session_id=next_id(), role="user", text=f"{n} " + "m" * 240, at=at) for n in range(10)
    ]
    snapshot = Snapshot(version=2**40, exists=True, last_id=next_id(), facts=tuple(facts), messages=tuple(messages))
    return Entry(snapshot=snapshot, synced_at=1_750_000_000.0)


def result(name: str, value_us: float, yardstick_us: float) -> dict[str, str | float]:
    ratio = round(value_us / yardstick_us, 2)
    return {"name": name, "value_us": round(value_us, 3), "yardstick_us": round(yardstick_us, 3), "ratio": ratio}


def compare(
    name: str, value: Callable[[], object], yardstick: Callable[[], object], *, number: int
) -> dict[str, str | float]:
    """Take turns, so that both meet the same noise; the median of the rounds."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        seconds[0].append(timeit.timeit(value, number=number))
        seconds[1].append(timeit.timeit(yardstick, number=number))
    return result(name, median(seconds[0]) / number * 1e6, median(seconds[1]) / number * 1e6)


async def microseconds(call: Callable[[], Awaitable[object]], *, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        await call()
    return (time.perf_counter() - start) / number * 1e6


def redis_get() -> dict[str, str | float]:
    """`RedisStore.get` of 8 KiB, beside redis-py's own GET and msgspec's decoding of the same document."""
    server = RedisServer()
    server.start()
    try:
        return asyncio.run(_redis_get(server.url))
    finally:
        server.close()


class _Document(msgspec.Struct):
    format: int
    synced_at: float
    snapshot: Snapshot


async def _redis_get(url: str) -> dict[str, str | float]:
    store, client = RedisStore(url), redis.Redis.from_url(url)
    await store.put(USER, entry_of_8_kib(), keep=3600)
    await client.set("plain", codec.encode(entry_of_8_kib()))
    decode = msgspec.json.Decoder(_Document).decode

    async def plain() -> _Document:
        return decode(await client.get("plain"))

    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(await microseconds(lambda: store.get(USER), number=100))
        theirs.append(await microseconds(plain, number=100))
    await store.aclose()
    await client.aclose()
    return result("RedisStore.get, 8 KiB / redis-py GET and msgspec", median(ours), median(theirs))


def memory_peek() -> dict[str, str | float]:
    """`InMemoryStore.peek`, beside a lookup in a dict."""
    store = InMemoryStore()
    users = [UserKey("default", f"user-{n}") for n in range(1000)]
    for user in users:
        store.hold(user, entry_of_8_kib(), keep=3600)
    plain = dict.fromkeys(users, 1)
    user = users[500]
    return compare("InMemoryStore.peek / dict.get", lambda: store.peek(user), lambda: plain.get(user), number=20_000)


def memory_hold() -> dict[str, str | float]:
    """`InMemoryStore.hold`, beside encoding the same entry, which is how its size is estimated."""
    store, entry = InMemoryStore(), entry_of_8_kib()
    return compare(
        "InMemoryStore.hold, 8 KiB / codec.encode",
        lambda: store.hold(USER, entry, keep=3600),
        lambda: codec.encode(entry),
        number=500,
    )


def codec_encode() -> dict[str, str | float]:
    """`codec.encode`, beside msgspec's encoding of the same snapshot."""
    entry = entry_of_8_kib()
    encoder = msgspec.json.Encoder()
    return compare(
        "codec.encode, 8 KiB / msgspec",
        lambda: codec.encode(entry),
        lambda: encoder.encode(entry.snapshot),
        number=500,
    )


def codec_decode() -> dict[str, str | float]:
    """`codec.decode`, beside msgspec's decoding of the same snapshot."""
    document = codec.encode(entry_of_8_kib())
    snapshot = msgspec.json.encode(entry_of_8_kib().snapshot)
    decoder = msgspec.json.Decoder(Snapshot)
    return compare(
        "codec.decode, 8 KiB / msgspec",
        lambda: codec.decode(document),
        lambda: decoder.decode(snapshot),
        number=500,
    )


def apply_one_change() -> dict[str, str | float]:
    """`bound(apply(...))` of one message, beside encoding the snapshot, which bounding it needs."""
    snapshot = entry_of_8_kib().snapshot
    change = MessageAdded(
        id=next_id(),
        session_id=next_id(),
        session_started=1.0,
        base=snapshot.version,
        role="user",
        text="I moved to Lisbon last week",
        at=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return compare(
        "apply and bound, one change to 8 KiB / msgspec encoding",
        lambda: bound(apply(snapshot, [change])),
        lambda: msgspec.json.encode(snapshot),
        number=200,
    )


BENCHMARKS = [redis_get, memory_peek, memory_hold, codec_encode, codec_decode, apply_one_change]
