"""Sessions of agents that share nothing but an Upstash, on asyncio and on trio."""

from collections.abc import Iterator
from time import time

import pytest

from edgememory import EdgeMemory, Parts, Tier
from edgememory.errors import StoreUnavailableError
from edgememory.lab.servers import RedisServer
from edgememory.models import UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.store import CacheStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.stores.upstash import UpstashStore
from tests.unit.fakes import FakeOrigin
from tests.upstash.server import TOKEN, UpstashServer, upstash_server

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]
SECRET = "0123456789abcdef"


@pytest.fixture
def server(own_redis_server: RedisServer) -> Iterator[UpstashServer]:
    with upstash_server(own_redis_server.port) as server:
        yield server


def agent(server: UpstashServer, origin: FakeOrigin | InMemoryOrigin) -> EdgeMemory:
    """One host's: with an outbox of its own."""
    store: CacheStore = UpstashStore(server.url, TOKEN, key_secret=SECRET)
    cache = Tier(name="upstash", store=store, timeout=1.0)
    return EdgeMemory(
        Parts(origin=Tier(name="origin", store=origin, timeout=1.0), outbox=MemoryOutbox(), caches=[cache])
    )


async def test_what_was_just_said_is_there_on_another_host_while_the_origin_is_away(
    server: UpstashServer, anyio_backend: str
) -> None:
    origin = FakeOrigin(now=time)
    async with agent(server, origin) as memory, memory.session("anna") as session:
        session.set_name("Anna")
        await session.committed()
    away = StoreUnavailableError("away", store="origin", operation="any")
    async with agent(server, origin) as here, agent(server, origin) as there:
        origin.switch.fail(away)
        async with here.session("anna") as session:
            assert session.opened_with.tier == "upstash"
            session.add_message("user", "I moved to Lisbon")
        async with there.session("anna") as session:
            assert "Anna" in session.context()
            assert "I moved to Lisbon" in session.context()
        origin.switch.heal()


async def test_a_deleted_user_is_gone_on_every_host(server: UpstashServer, anyio_backend: str) -> None:
    origin = InMemoryOrigin()
    async with agent(server, origin) as here, agent(server, origin) as there:
        async with here.session("anna") as session:
            session.set_name("Anna")
            await session.committed()
        receipt = await here.delete_user("anna")
        assert {cleared.store: cleared.cleared for cleared in receipt.stores}["upstash"]
        async with there.session("anna") as session:
            assert session.opened_with.tier == "upstash"
            assert "Anna" not in session.context()
    assert (await origin.get(UserKey("default", "anna"))).snapshot.is_tombstone
