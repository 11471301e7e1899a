"""An agent's process: `python -m tests.faults.agent_process talk|load|deliver|recall DSN OUTBOX ...`.

OUTBOX is a path, the URL of a Redis, or that of a Worker, which then is the cache too.
"""

import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, islice

import anyio
import msgspec

from edgememory import DeliveryPolicy, EdgeMemory, Parts, Tier
from edgememory.outbox.file import FileOutbox
from edgememory.outbox.redis import RedisOutbox
from edgememory.outbox.workers import WorkersOutbox
from edgememory.store import CacheStore, Outbox
from edgememory.stores.postgres import PostgresPrimary
from edgememory.stores.workers_kv import WorkersKVStore
from edgememory.testing.history import Event
from edgememory.testing.witness import Witness
from edgememory.tier import CacheTier
from tests.worker.server import TOKEN

NAMESPACE = "crash"
USERS = ["anna", "bert", "carl"]
AT_ONCE = 4
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


async def load(dsn: str, place: str, name: str, people: str) -> None:
    """Have several calls at once, for ever, and print what happens: each event as it happens, a line of JSON."""

    def said(event: Event) -> None:
        print(msgspec.json.encode(event).decode(), flush=True)

    witness = Witness(said, process=name, host="host")

    async def call(number: int) -> None:
        user = f"{people}-{number % 3}"
        began = time.time()
        async with memory.session(user, timeout=0.5, leave_timeout=10) as session:
            witness.opened(session, user, began)
            for place in range(3):
                text = f"{name}-{number}-{place}"
                session.add_message("user", text) if place else session.remember(text)
                # Before the event loop has a chance to make it durable: none is durable that the test does not know.
                witness.made(session, user, text)
                await anyio.sleep(random.uniform(0, 0.01))
            began = time.time()
        witness.left(session, user, began)

    async def callers(first: int) -> None:
        for number in count(first, AT_ONCE):
            await call(number)

    async with opened(dsn, place) as (memory, _), anyio.create_task_group() as group:
        for first in range(AT_ONCE):
            group.start_soon(callers, first)


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
        case ["load", dsn, place, name, people]:
            anyio.run(load, dsn, place, name, people)
        case ["deliver", dsn, place]:
            anyio.run(deliver, dsn, place)
        case ["recall", dsn, place]:
            anyio.run(recall, dsn, place)
        case arguments:
            sys.exit(f"not understood: {arguments}")
