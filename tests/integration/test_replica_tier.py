"""What an agent gets from a real replica, when it lags, hangs or is cut off, and from Geneva when it must."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg
import pytest

from edgememory import EdgeMemory, Policy
from edgememory.lab.link import Link
from edgememory.lab.servers import PostgresServer, ReplicaServer
from edgememory.models import Cleared, Receipt, UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.parts import Parts
from edgememory.stores.postgres import PostgresPrimary, PostgresReplica
from edgememory.testing.clock import ManualClock
from edgememory.testing.talk import Talk
from edgememory.tier import Tier
from edgememory.walk import Read
from tests.raw_postgres import raw_commit, raw_connection
from tests.servers import running

pytestmark = pytest.mark.anyio

USER = UserKey("default", "ann")
GENEVA, NEARBY = 0.15, 0.005
PATIENT = 10.0
"""Seconds that a tier may take: this machine may be busy, and nothing here is to depend on it."""


@dataclass
class Place:
    """Where the agent is: between it and the servers are links, and `memory` is its own."""

    memory: EdgeMemory
    replica: ReplicaServer
    raw: asyncpg.Connection
    to_origin: Link
    to_replica: Link
    clock: ManualClock
    """By which process memory forgets."""

    async def says(self, *changes: str) -> None:
        """Commit elsewhere."""
        await raw_commit(self.raw, USER, [Talk().remembers(text) for text in changes])

    async def replayed(self) -> None:
        await asyncio.to_thread(self.replica.catch_up)

    async def falls_behind(self) -> None:
        await self.replayed()
        await asyncio.to_thread(self.replica.pause)

    async def look(self) -> Read:
        return await self.memory.warm(USER.user_id)


def facts(read: Read) -> list[str]:
    return sorted(fact.text for fact in read.snapshot.facts)


@pytest.fixture(scope="module")
def nearby(postgres_server: PostgresServer) -> Iterator[ReplicaServer]:
    with running(ReplicaServer(postgres_server)) as server:
        yield server


@pytest.fixture
def links(postgres_server: PostgresServer, nearby: ReplicaServer) -> Iterator[tuple[Link, Link]]:
    with ExitStack() as stack:
        to_origin = Link("127.0.0.1", postgres_server.port, round_trip=GENEVA)
        stack.callback(to_origin.close)
        to_replica = Link("127.0.0.1", nearby.port, round_trip=NEARBY)
        stack.callback(to_replica.close)
        yield to_origin, to_replica


def over(link: Link, dsn: str) -> str:
    return dsn.replace(f":{urlsplit(dsn).port}/", f":{link.port}/")


def memory_of(origin_dsn: str, replica_dsn: str, clock: ManualClock) -> EdgeMemory:
    return EdgeMemory(
        Parts(
            origin=Tier(name="origin", store=PostgresPrimary(origin_dsn), timeout=PATIENT),
            outbox=MemoryOutbox(),
            replica=Tier(name="replica", store=PostgresReplica({"near": replica_dsn}), timeout=PATIENT),
        ),
        monotonic=clock.monotonic,
    )


@pytest.fixture
async def place(migrated_database: str, nearby: ReplicaServer, links: tuple[Link, Link]) -> AsyncIterator[Place]:
    (to_origin, to_replica), clock = links, ManualClock()
    at_replica = nearby.dsn_of(urlsplit(migrated_database).path.removeprefix("/"))
    async with raw_connection(migrated_database) as raw:
        await raw.execute("SELECT pg_current_xact_id()")
        await asyncio.to_thread(nearby.catch_up)
        async with memory_of(over(to_origin, migrated_database), over(to_replica, at_replica), clock) as memory:
            yield Place(memory, nearby, raw, to_origin, to_replica, clock)
            await asyncio.to_thread(nearby.resume)


async def test_a_user_whom_the_replica_knows_needs_no_geneva(place: Place) -> None:
    await place.says("Has a dog")
    await place.replayed()
    place.to_origin.hang()
    read = await place.look()
    assert (read.status, read.tier, facts(read)) == ("fresh", "replica", ["Has a dog"])
    async with place.memory.session(USER.user_id) as session:
        assert not session.degraded
        assert "Has a dog" in session.context()


async def test_a_user_of_whom_the_replica_has_not_heard_yet_is_known(place: Place) -> None:
    await place.falls_behind()
    await place.says("Has a dog")
    read = await place.look()
    assert (read.status, read.tier, facts(read)) == ("fresh", "origin", ["Has a dog"])


@pytest.mark.parametrize("fault", [Link.cut, Link.hang])
async def test_a_replica_that_does_not_answer_is_replaced_by_geneva(
    place: Place, fault: Callable[[Link], None]
) -> None:
    await place.says("Has a dog")
    await place.replayed()
    fault(place.to_replica)
    read = await place.look()
    assert (read.status, read.tier, facts(read)) == ("fresh", "origin", ["Has a dog"])


async def test_a_reader_who_knows_of_a_version_is_not_shown_an_older_one(place: Place) -> None:
    await place.says("Has a dog")
    await place.falls_behind()
    await place.says("Has a cat")
    async with place.memory.session(USER.user_id, at_least=2, timeout=PATIENT) as session:
        assert [fact.text for fact in session.snapshot.facts] == ["Has a cat", "Has a dog"]
        assert not session.degraded


async def test_a_session_opened_on_a_lagging_replica_hears_of_the_rest_from_geneva(place: Place) -> None:
    await place.says("Has a dog")
    await place.falls_behind()
    await place.says("Has a cat")
    read = await place.look()
    assert (read.tier, facts(read)) == ("replica", ["Has a dog"])
    async with place.memory.session(USER.user_id) as session:
        session.add_message("user", "Hello")
        await session.committed()
        assert {fact.text for fact in session.snapshot.facts} == {"Has a dog", "Has a cat"}


async def test_a_replica_that_was_restarted_answers_again_once_something_was_committed(place: Place) -> None:
    await place.says("Has a dog")
    await asyncio.to_thread(place.replica.restart)
    assert facts(await place.look()) == ["Has a dog"]
    await place.says("Has a cat")
    await place.replayed()
    place.to_origin.cut()
    place.clock.advance(Policy().near_keep)
    read = await place.look()
    assert (read.status, read.tier, facts(read)) == ("fresh", "replica", ["Has a cat", "Has a dog"])


async def test_what_was_deleted_is_not_shown_again_by_a_replica_that_lags(place: Place) -> None:
    await place.says("Has a dog")
    await place.falls_behind()
    receipt = await place.memory.delete_user(USER.user_id)
    assert at_replica(receipt) == Cleared(
        store="replica near", cleared=False, error="it has not replayed the deletion yet"
    )
    place.to_origin.cut()
    place.clock.advance(Policy().near_keep)  # process memory has forgotten it, but for its version
    read = await place.look()
    assert (read.status, read.snapshot.exists, facts(read)) == ("degraded", False, [])
    place.to_origin.heal()
    await asyncio.to_thread(place.replica.resume)
    again = at_replica(await place.memory.delete_user(USER.user_id))
    assert (again.cleared, again.error) == (True, None)


def at_replica(receipt: Receipt) -> Cleared:
    (cleared,) = (store for store in receipt.stores if store.store.startswith("replica"))
    return cleared
