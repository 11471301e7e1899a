"""Which of several real replicas is asked: behind links of different lengths, cut, hung, restarted, promoted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import asyncpg
import pytest

from edgememory.errors import StoreBlockedError, StoreError, StoreUnavailableError
from edgememory.lab.link import Link
from edgememory.lab.servers import PostgresServer, ReplicaServer
from edgememory.models import Entry, UserKey
from edgememory.stores.postgres import PostgresReplica, migrate
from edgememory.stores.postgres.nearest import FIRST_PAUSE
from edgememory.stores.postgres.replica import MEASURE_EVERY
from edgememory.testing.clock import ManualClock
from edgememory.testing.talk import Talk
from tests.raw_postgres import raw_commit, raw_connection

pytestmark = pytest.mark.anyio

USER = UserKey("replica", "ann")
FAR, NEAR = 0.03, 0.003


@pytest.fixture
async def raw(migrated_database: str) -> AsyncIterator[asyncpg.Connection]:
    async with raw_connection(migrated_database) as raw:
        await raw_commit(raw, USER, [Talk().is_called("Ann")])
        yield raw


@pytest.fixture
async def dsn(raw: asyncpg.Connection, migrated_database: str, replica_server: ReplicaServer) -> str:
    """The test's database on the replica, where it holds the user."""
    await asyncio.to_thread(replica_server.catch_up)
    return replica_server.dsn_of(urlsplit(migrated_database).path.removeprefix("/"))


@pytest.fixture
def links(replica_server: ReplicaServer) -> Iterator[dict[str, Link]]:
    with ExitStack() as stack:
        links = {}
        for name, distance in (("far", FAR), ("near", NEAR)):
            links[name] = Link("127.0.0.1", replica_server.port, round_trip=distance)
            stack.callback(links[name].close)
        yield links


@pytest.fixture
def servers(dsn: str, links: dict[str, Link]) -> dict[str, str]:
    """The same replica over both links; the connections bear their names."""
    return {name: over(link, dsn, name) for name, link in links.items()}


def over(link: Link, dsn: str, name: str) -> str:
    return dsn.replace(f":{urlsplit(dsn).port}/", f":{link.port}/") + f"?application_name={name}"


@asynccontextmanager
async def replicas(servers: dict[str, str], clock: ManualClock | None = None) -> AsyncIterator[PostgresReplica]:
    store = PostgresReplica(servers) if clock is None else PostgresReplica(servers, monotonic=clock.monotonic)
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
async def asked(dsn: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Say who was asked last."""
    async with raw_connection(dsn) as connection:

        async def asked() -> str:
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            return await connection.fetchval(
                "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE '%edgememory.get%' AND pid <> pg_backend_pid() ORDER BY query_start DESC LIMIT 1"
            )

        yield asked


Asked = Callable[[], Awaitable[str]]


async def name_at(store: PostgresReplica) -> str | None:
    return (await store.get(USER)).snapshot.name


async def test_before_it_is_measured_the_first_is_asked_and_nobody_waits_for_the_measurement(
    servers: dict[str, str], links: dict[str, Link], asked: Asked
) -> None:
    links["near"].hang()
    async with replicas(servers) as store:
        assert await name_at(store) == "Ann"
        assert await asked() == "far"


async def test_the_nearest_is_asked_from_the_first_call_on(servers: dict[str, str], asked: Asked) -> None:
    async with replicas(servers) as store:
        await store.warm()
        assert await asked() == "near"
        assert await name_at(store) == "Ann"
        assert await asked() == "near"


async def test_distances_are_measured_again_for_whoever_comes_later(
    servers: dict[str, str], links: dict[str, Link], asked: Asked
) -> None:
    clock = ManualClock()
    async with replicas(servers, clock) as store:
        await store.warm()
        links["near"].reshape(round_trip=FAR)
        links["far"].reshape(round_trip=NEAR)
        clock.advance(MEASURE_EVERY)
        while not (await name_at(store) == "Ann" and await asked() == "far"):  # noqa: ASYNC110
            await anyio.sleep(0.01)


@pytest.mark.parametrize("fault", [Link.cut, Link.hang])
async def test_who_does_not_answer_is_passed_over_and_taken_back_when_it_does(
    servers: dict[str, str], links: dict[str, Link], asked: Asked, fault: Callable[[Link], None]
) -> None:
    clock = ManualClock()
    async with replicas(servers, clock) as store:
        await store.warm()
        fault(links["near"])
        if fault is Link.hang:
            await gives_up(store, clock)
        assert await name_at(store) == "Ann"
        assert await asked() == "far"
        links["near"].heal()
        clock.advance(MEASURE_EVERY)
        while not (await name_at(store) == "Ann" and await asked() == "near"):  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def gives_up(store: PostgresReplica, clock: ManualClock) -> None:
    """Be a reader whose time is up."""
    async with anyio.create_task_group() as group:
        group.start_soon(store.get, USER)
        await anyio.lowlevel.checkpoint()
        clock.advance(0.1)
        group.cancel_scope.cancel()


async def test_who_was_overtaken_by_another_tier_is_not_blamed(servers: dict[str, str], asked: Asked) -> None:
    async with replicas(servers, ManualClock()) as store:
        await store.warm()
        async with anyio.create_task_group() as group:
            group.start_soon(store.get, USER)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert await name_at(store) == "Ann"
        assert await asked() == "near"


async def test_a_short_failure_is_over_after_a_second(
    servers: dict[str, str], links: dict[str, Link], asked: Asked
) -> None:
    clock = ManualClock()
    async with replicas(servers, clock) as store:
        await store.warm()
        links["near"].cut()
        await store.get(USER)
        links["near"].heal()
        await store.get(USER)
        assert await asked() == "far"
        clock.advance(FIRST_PAUSE)
        await store.get(USER)
        assert await asked() == "near"


async def test_the_connection_ahead_is_to_the_nearest_that_lets_us_in(
    servers: dict[str, str], links: dict[str, Link], asked: Asked
) -> None:
    servers["near"] = servers["near"].replace("//postgres:", "//nobody:")
    async with replicas(servers) as store:
        await store.warm()
        assert await asked() == "far"
        shown = await store.get_each(USER)
        assert isinstance(shown["near"], StoreBlockedError)
        assert isinstance(shown["far"], Entry)
    links["far"].cut()
    async with replicas(servers) as store:
        with pytest.raises(StoreUnavailableError, match=r"replica far\.warm.*replica near\.warm"):
            await store.warm()


async def test_if_nobody_answers_each_is_named(servers: dict[str, str], links: dict[str, Link]) -> None:
    for link in links.values():
        link.cut()
    async with replicas(servers) as store:
        with pytest.raises(StoreUnavailableError, match=r"replica far\.get: .*; replica near\.get: ") as caught:
            await store.get(USER)
        assert isinstance(caught.value.__cause__, StoreError)
    async with replicas({"far": servers["far"]}) as store:
        with pytest.raises(StoreUnavailableError, match=r"^replica far\.get: "):
            await store.get(USER)


async def test_each_says_what_it_shows_or_why_it_does_not(servers: dict[str, str], links: dict[str, Link]) -> None:
    links["near"].cut()
    async with replicas(servers) as store:
        shown = await store.get_each(USER)
        assert list(shown) == ["far", "near"]
        assert isinstance(shown["far"], Entry)
        assert shown["far"].snapshot.name == "Ann"
        assert isinstance(shown["near"], StoreUnavailableError)


async def test_one_that_hangs_says_so_in_time(servers: dict[str, str], links: dict[str, Link]) -> None:
    links["near"].hang()
    async with replicas(servers) as store:
        shown = await store.get_each(USER)
        assert isinstance(shown["far"], Entry)
        assert "no answer within" in str(shown["near"])


async def test_a_primary_is_no_replica(servers: dict[str, str], migrated_database: str, asked: Asked) -> None:
    """Its content would look fresh for ever, although a promoted copy hears of no new commit."""
    async with replicas({"wrong": migrated_database}) as store:
        with pytest.raises(StoreBlockedError, match=r"^replica wrong\.get: it is no replica: .*\[origin\]"):
            await store.get(USER)
    async with replicas({"wrong": migrated_database} | servers) as store:
        assert await name_at(store) == "Ann"
        assert await asked() == "far"


async def test_a_replica_that_was_promoted_by_mistake_is_refused_and_the_next_is_asked(
    dsn: str, servers: dict[str, str], own_replica_server: ReplicaServer, raw: asyncpg.Connection
) -> None:
    await asyncio.to_thread(own_replica_server.catch_up)
    own = own_replica_server.dsn_of(urlsplit(dsn).path.removeprefix("/"))
    async with replicas({"promoted": own, "far": servers["far"]}) as store:
        await store.get(USER)
        await asyncio.to_thread(own_replica_server.promote)
        async with raw_connection(own) as former:
            await raw_commit(former, USER, [Talk().is_called("Nobody")])
        for _ in range(3):
            assert await name_at(store) == "Ann"
        assert "follows nobody" in str((await store.get_each(USER))["promoted"])


async def test_content_is_as_old_as_the_last_commit_that_was_replayed(
    dsn: str, own_replica_server: ReplicaServer, raw: asyncpg.Connection
) -> None:
    async with replicas({"own": own_replica_server.dsn_of(urlsplit(dsn).path.removeprefix("/"))}) as store:
        await asyncio.to_thread(own_replica_server.catch_up)
        before = await store.get(USER)
        await asyncio.to_thread(own_replica_server.pause)
        began = (await raw.fetchval("SELECT clock_timestamp()")).timestamp()
        await raw_commit(raw, USER, [Talk().is_called("Anna")])
        paused = await store.get(USER)
        assert (paused.snapshot.name, paused.synced_at) == ("Ann", before.synced_at)
        await asyncio.to_thread(own_replica_server.resume)
        await asyncio.to_thread(own_replica_server.catch_up)
        after = await store.get(USER)
        assert after.snapshot.name == "Anna"
        assert after.synced_at >= began


async def test_a_restarted_replica_that_has_replayed_nothing_yet_does_not_know_how_old_it_is(
    own_postgres_server: PostgresServer,
) -> None:
    await migrate(own_postgres_server.dsn)
    replica = ReplicaServer(own_postgres_server)
    try:
        await asyncio.to_thread(replica.start)
        async with raw_connection(own_postgres_server.dsn) as raw, replicas({"own": replica.dsn}) as store:
            await raw_commit(raw, USER, [Talk().is_called("Ann")])
            await asyncio.to_thread(replica.catch_up)
            assert (await store.get(USER)).synced_at > 0
            await raw.execute("CHECKPOINT")
            await asyncio.to_thread(replica.catch_up)
            async with raw_connection(replica.dsn) as copy:
                await copy.execute("CHECKPOINT")
            await asyncio.to_thread(replica.restart)
            restarted = await store.get(USER)
            assert (restarted.snapshot.name, restarted.synced_at) == ("Ann", 0)
            await raw.execute("SELECT pg_current_xact_id()")
            while (await store.get(USER)).synced_at == 0:  # noqa: ASYNC110
                await anyio.sleep(0.01)
    finally:
        await asyncio.to_thread(replica.close)
