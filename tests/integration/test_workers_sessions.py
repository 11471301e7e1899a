"""Sessions of agents that share nothing but a Worker: entries and outbox in the same Durable Objects."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from time import time
from uuid import uuid4

import httpx
import pytest
from msgspec.structs import replace

from edgememory import DeliveryPolicy, EdgeMemory, Parts, Tier
from edgememory.errors import StoreUnavailableError
from edgememory.keys import entry_key
from edgememory.models import UserKey
from edgememory.outbox.workers import WorkersOutbox
from edgememory.store import CacheStore
from edgememory.stores.workers_kv import WorkersKVStore
from edgememory.testing.examples import entry_at
from edgememory.tier import CacheTier
from tests.unit.fakes import FakeCache, FakeOrigin
from tests.worker.server import TOKEN, WorkerServer

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]
SECRET = "0123456789abcdef"
AWAY = StoreUnavailableError("away", store="origin", operation="any")


class Host:
    """Which requests for what it knows one agent made: entries and what waits."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def hear(self, request: httpx.Request) -> None:
        if request.url.path.startswith("/v1/entries/") and request.method != "PUT":
            self.asked.append(request.url.query.decode())


@asynccontextmanager
async def agent(
    worker: WorkerServer,
    origin: FakeOrigin,
    host: Host,
    now: Callable[[], float] = time,
    others: Sequence[CacheTier] = (),
) -> AsyncIterator[EdgeMemory]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(event_hooks={"request": [host.hear]}))
        store: CacheStore = WorkersKVStore(worker.url, TOKEN, key_secret=SECRET, client=client)
        outbox = WorkersOutbox(worker.url, TOKEN, key_secret=SECRET, client=client, now=now)
        cache = Tier(name="workers", store=store, timeout=2.0, beside_outbox=True)
        parts = Parts(origin=Tier(name="origin", store=origin, timeout=2.0), outbox=outbox, caches=[cache, *others])
        yield await stack.enter_async_context(EdgeMemory(parts, delivery=DeliveryPolicy(lease=1.0, poll=0.2), now=now))


async def test_opening_a_session_takes_one_request_whatever_is_known_of_the_user(
    empty_worker: WorkerServer, anyio_backend: str
) -> None:
    origin = FakeOrigin(now=time)
    anna = f"anna-{uuid4().hex}"
    first = Host()
    async with agent(empty_worker, origin, first) as memory:
        async with memory.session(anna) as session:
            assert first.asked == ["pending=1"], "nobody knows the user"
            session.set_name("Anna")
            await session.committed()
        await memory.flush()
    second = Host()
    async with agent(empty_worker, origin, second) as memory, memory.session(anna) as session:
        assert second.asked == ["pending=1"]
        assert (session.opened_with.status, session.opened_with.tier) == ("fresh", "workers")
        assert "Anna" in session.context()
    origin.switch.fail(AWAY)
    third = Host()
    async with (
        agent(empty_worker, origin, third, lambda: time() + 7200) as memory,
        memory.session(anna) as session,
    ):
        assert third.asked == ["pending=1"]
        assert (session.opened_with.status, session.opened_with.tier) == ("stale", "workers")
        assert "Anna" in session.context()


async def test_what_came_with_the_outbox_says_nothing_of_another_cache(
    empty_worker: WorkerServer, anyio_backend: str
) -> None:
    elsewhere, user = FakeCache(), UserKey("default", f"anna-{uuid4().hex}")
    await elsewhere.put(user, replace(entry_at(5), synced_at=time()), keep=3600)
    below: CacheTier = Tier(name="elsewhere", store=elsewhere, timeout=2.0)
    async with (
        agent(empty_worker, FakeOrigin(now=time), Host(), others=[below]) as memory,
        memory.session(user.user_id) as session,
    ):
        assert (session.opened_with.tier, session.snapshot.version) == ("elsewhere", 5)


async def test_what_was_just_said_is_there_in_another_container_while_the_origin_is_away(
    empty_worker: WorkerServer, anyio_backend: str
) -> None:
    origin = FakeOrigin(now=time)
    anna = f"anna-{uuid4().hex}"
    async with agent(empty_worker, origin, Host()) as memory, memory.session(anna) as session:
        session.set_name("Anna")
        await session.committed()
    origin.switch.fail(AWAY)
    async with agent(empty_worker, origin, Host()) as memory, memory.session(anna) as session:
        session.add_message("user", "I moved to Lisbon")
    async with agent(empty_worker, origin, Host()) as memory, memory.session(anna) as session:
        assert "I moved to Lisbon" in session.context()
        assert "Anna" in session.context()
        origin.switch.heal()
        session.add_message("user", "And I have a dog")
        await session.committed()
    assert origin.texts(UserKey("default", anna)) == ["I moved to Lisbon", "And I have a dog"]


async def test_a_call_is_written_to_kv_three_times_at_most(empty_worker: WorkerServer, anyio_backend: str) -> None:
    origin = FakeOrigin(now=time)
    anna = f"anna-{uuid4().hex}"
    key = entry_key(UserKey("default", anna), secret=SECRET)
    async with agent(empty_worker, origin, Host()) as memory:
        async with memory.session(anna) as session:
            for turn in range(6):
                session.add_message("user", f"turn {turn}")
                await session.committed()
                empty_worker.ring(key, after_silence=False)
        await memory.flush()
    newest = origin.state(UserKey("default", anna)).version
    empty_worker.ring(key)
    writes = len(empty_worker.kv_writes(key))
    assert str(empty_worker.kv_writes(key)[-1]["order"]).startswith(f"{newest}.")
    assert writes <= 3
    async with agent(empty_worker, origin, Host(), lambda: time() + 120) as memory:
        async with memory.session(anna) as session:
            assert session.opened_with.age > 60, "so it is refreshed"
        await memory.flush()
    assert len(empty_worker.kv_writes(key)) == writes


async def test_a_receipt_says_how_long_a_location_may_still_show_what_was_deleted(
    empty_worker: WorkerServer, anyio_backend: str
) -> None:
    origin = FakeOrigin(now=time)
    async with agent(empty_worker, origin, Host()) as memory:
        async with memory.session(anna := f"anna-{uuid4().hex}") as session:
            session.set_name("Anna")
            await session.committed()
        receipt = await memory.delete_user(anna)
    by = {cleared.store: cleared.effective_by for cleared in receipt.stores}
    assert by["workers"] is not None
    assert by["memory"] is not None
    assert by["workers"] - by["memory"] == timedelta(seconds=60)
