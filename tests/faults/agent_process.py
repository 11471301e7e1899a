"""An agent's process: `python -m tests.faults.agent_process talk|deliver|recall DSN OUTBOX [NAME CALLS]`.

OUTBOX is a path, the URL of a Redis, or that of a Worker, which then is the cache too.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, islice

import anyio

from edgememory import DeliveryPolicy, EdgeMemory, Parts, Tier
from edgememory.outbox.file import FileOutbox
from edgememory.outbox.redis import RedisOutbox
from edgememory.outbox.workers import WorkersOutbox
from edgememory.store import CacheStore, Outbox
from edgememory.stores.postgres import PostgresPrimary
from edgememory.stores.workers_kv import WorkersKVStore
from edgememory.tier import CacheTier
from tests.worker.server import TOKEN

NAMESPACE = "crash"
USERS = ["anna", "bert", "carl"]
SECRET = "sixteen-characters"


def outbox_at(place: str) -> Outbox:
    if place.startswith("http:"):
        return WorkersOutbox(place, TOKEN, key_secret=SECRET)
    return RedisOutbox(place) if place.startswith("redis:") else FileOutbox(place)


def caches_at(place: str) -> list[CacheTier]:
    if not place.startswith("http:"):
        return []
    store: CacheStore = WorkersKVStore(place, TOKEN, key_secret=SECRET)
    return [Tier(name="workers", store=store, timeout=1.0, beside_outbox=True)]


@asynccontextmanager
async def opened(dsn: str, place: str) -> AsyncIterator[tuple[EdgeMemory, Outbox]]:
    outbox = outbox_at(place)
    origin = Tier(name="origin", store=PostgresPrimary(dsn), timeout=1.0)
    parts = Parts(origin=origin, outbox=outbox, caches=caches_at(place))
    # A lease that a crash leaves behind is over soon.
    policy = DeliveryPolicy(lease=1.0, poll=0.1)
    async with EdgeMemory(parts, namespace=NAMESPACE, delivery=policy) as memory:
        yield memory, outbox


async def talk(dsn: str, place: str, name: str, calls: int) -> None:
    """Print what was said in a session once it was left and is durable."""
    async with opened(dsn, place) as (memory, _):
        for number in islice(count(), None if calls < 0 else calls):
            said = [f"{name}-{number}-{place}" for place in range(3)]
            async with memory.session(USERS[number % len(USERS)], timeout=0.2, leave_timeout=10) as session:
                for text in said:
                    session.add_message("user", text)
            if session.durable:
                print(*said, flush=True)


async def deliver(dsn: str, place: str) -> None:
    """Deliver until the outbox holds nothing."""
    async with opened(dsn, place) as (_, outbox):
        while (await outbox.depth()).changes:  # noqa: ASYNC110 - the outbox tells nobody
            await anyio.sleep(0.02)


async def recall(dsn: str, place: str) -> None:
    """Print all that a call of each user begins with."""
    async with opened(dsn, place) as (memory, _):
        for user in USERS:
            async with memory.session(user, timeout=5) as session:
                print(*(message.text for message in session.snapshot.messages), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["talk", dsn, place, name, calls]:
            anyio.run(talk, dsn, place, name, int(calls))
        case ["deliver", dsn, place]:
            anyio.run(deliver, dsn, place)
        case ["recall", dsn, place]:
            anyio.run(recall, dsn, place)
        case arguments:
            sys.exit(f"not understood: {arguments}")
