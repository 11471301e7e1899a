"""An agent's process: `python -m tests.faults.agent_process talk|deliver DSN OUTBOX [NAME CALLS]`.

OUTBOX is a path, or the URL of a Redis.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, islice

import anyio

from edgememory import DeliveryPolicy, EdgeMemory, Parts, Tier
from edgememory.outbox.file import FileOutbox
from edgememory.outbox.redis import RedisOutbox
from edgememory.store import Outbox
from edgememory.stores.postgres import PostgresPrimary

NAMESPACE = "crash"
USERS = ["anna", "bert", "carl"]


def outbox_at(place: str) -> Outbox:
    return RedisOutbox(place) if place.startswith("redis:") else FileOutbox(place)


@asynccontextmanager
async def opened(dsn: str, outbox: Outbox) -> AsyncIterator[EdgeMemory]:
    parts = Parts(origin=Tier(name="origin", store=PostgresPrimary(dsn), timeout=1.0), outbox=outbox)
    # A lease that a crash leaves behind is over soon.
    policy = DeliveryPolicy(lease=1.0, poll=0.1)
    async with EdgeMemory(parts, namespace=NAMESPACE, delivery=policy) as memory:
        yield memory


async def talk(dsn: str, place: str, name: str, calls: int) -> None:
    """Print what was said in a session once it was left and is durable."""
    async with opened(dsn, outbox_at(place)) as memory:
        for number in islice(count(), None if calls < 0 else calls):
            said = [f"{name}-{number}-{place}" for place in range(3)]
            async with memory.session(USERS[number % len(USERS)], timeout=0.2, leave_timeout=10) as session:
                for text in said:
                    session.add_message("user", text)
            if session.durable:
                print(*said, flush=True)


async def deliver(dsn: str, place: str) -> None:
    """Deliver until the outbox holds nothing."""
    outbox = outbox_at(place)
    async with opened(dsn, outbox):
        while (await outbox.depth()).changes:  # noqa: ASYNC110 - the outbox tells nobody
            await anyio.sleep(0.02)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["talk", dsn, place, name, calls]:
            anyio.run(talk, dsn, place, name, int(calls))
        case ["deliver", dsn, place]:
            anyio.run(deliver, dsn, place)
        case arguments:
            sys.exit(f"not understood: {arguments}")
