"""Sessions through the public `EdgeMemory` while real servers restart, fill up, hang, refuse and forget."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal
from uuid import uuid4

import anyio
import pytest
import redis.asyncio as redis
from anyio import to_thread

from edgememory import DeliveryPolicy, EdgeMemory, NotCommittedError, Parts, Session, StoreBlockedError, Tier
from edgememory.codec import FORMAT
from edgememory.keys import entry_key
from edgememory.lab.servers import PostgresServer, RedisServer
from edgememory.models import Snapshot, UserKey
from edgememory.outbox.file import FileOutbox
from edgememory.stores.newer_wins import from_value
from edgememory.stores.postgres import PostgresPrimary, migrate
from edgememory.stores.redis import RedisStore
from edgememory.testing.examples import AWKWARD_IDS
from edgememory.testing.talk import Talk
from tests.raw_postgres import plain_role, raw_connection, raw_state

pytestmark = pytest.mark.anyio

ANNA = UserKey("faults", "anna")
QUICK = DeliveryPolicy(lease=2.0, poll=0.2)
ON_DEMAND = DeliveryPolicy(poll=3600.0)
"""Delivers when a session is left, or asked whether it is committed."""
PATIENCE = 30.0


@asynccontextmanager
async def host(
    dsn: str, edge: str, outbox: Path, *, edge_timeout: float = 5.0, delivery: DeliveryPolicy = QUICK
) -> AsyncIterator[EdgeMemory]:
    """A process of an agent, as far as memory goes: stores and process memory of its own."""
    parts = Parts(
        origin=Tier(name="origin", store=PostgresPrimary(dsn), timeout=5.0),
        caches=[Tier(name="edge", store=RedisStore(edge), timeout=edge_timeout)],
        outbox=FileOutbox(outbox),
    )
    async with EdgeMemory(parts, namespace=ANNA.namespace, delivery=delivery) as memory:
        yield memory
    assert memory.counters.background_errors == 0


def calls(memory: EdgeMemory) -> Session:
    return memory.session("anna", timeout=10, leave_timeout=10)


def texts(snapshot: Snapshot) -> list[str]:
    return [message.text for message in snapshot.messages]


async def delivered(session: Session) -> int:
    with anyio.fail_after(PATIENCE):
        return await session.committed()


async def raw_texts(dsn: str) -> list[str]:
    async with raw_connection(dsn) as raw:
        rows = await raw.fetch("SELECT text FROM edgememory.messages WHERE user_id = 'anna' ORDER BY id")
    return [row["text"] for row in rows]


@asynccontextmanager
async def raw_redis(url: str) -> AsyncIterator[redis.Redis]:
    client = redis.Redis.from_url(url, protocol=2)
    try:
        yield client
    finally:
        await client.aclose()


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again: no server says when."""
    with anyio.fail_after(PATIENCE):
        while not await condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def holds_something_else(raw: redis.Redis, value: bytes) -> bool:
    return bool(await raw.get(entry_key(ANNA)) != value)


async def has_history(memory: EdgeMemory, user_id: str) -> bool:
    return bool((await memory.get_messages(user_id)).items)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process hangs: it accepts connections and answers nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
async def own_dsn(own_postgres_server: PostgresServer) -> str:
    await migrate(own_postgres_server.dsn)
    return own_postgres_server.dsn


# The edge


async def test_an_edge_that_restarts_and_forgets_loses_nothing(
    migrated_database: str,
    own_redis_server: RedisServer,
    outbox: Path,
) -> None:
    edge = own_redis_server.url
    async with host(migrated_database, edge, outbox) as memory:
        async with calls(memory) as first:
            first.add_message("user", "before")
            await to_thread.run_sync(own_redis_server.restart)
            first.add_message("user", "after the restart")
        assert first.durable
        await delivered(first)
    async with raw_redis(edge) as raw:
        again = from_value(await raw.get(entry_key(ANNA)))
        assert texts(again.snapshot) == ["before", "after the restart"], "the region has it again"
        await to_thread.run_sync(own_redis_server.restart)
    async with host(migrated_database, edge, outbox) as memory, calls(memory) as second:
        assert texts(second.snapshot) == ["before", "after the restart"]
        assert not second.degraded
    assert await raw_texts(migrated_database) == ["before", "after the restart"]


async def test_an_edge_that_is_gone_breaks_no_session(
    migrated_database: str,
    own_redis_server: RedisServer,
    outbox: Path,
) -> None:
    await to_thread.run_sync(own_redis_server.stop)
    async with host(migrated_database, own_redis_server.url, outbox) as memory:
        for number in range(5):
            async with calls(memory) as session:
                assert not session.degraded
                assert len(texts(session.snapshot)) == number
                session.add_message("user", f"call {number}")
            assert session.durable
        await delivered(session)
    assert await raw_texts(migrated_database) == [f"call {number}" for number in range(5)]


async def test_a_full_edge_breaks_no_session_and_takes_part_again(
    migrated_database: str,
    own_redis_server: RedisServer,
    outbox: Path,
) -> None:
    edge = own_redis_server.url
    async with raw_redis(edge) as raw, host(migrated_database, edge, outbox) as memory:
        await raw.config_set("maxmemory", 1)
        async with calls(memory) as first:
            first.add_message("user", "while it is full")
        assert first.durable
        await delivered(first)
        assert await raw.get(entry_key(ANNA)) is None
        await raw.config_set("maxmemory", 0)
    async with host(migrated_database, edge, outbox) as memory, calls(memory) as second:
        second.add_message("user", "since it has room")
        await delivered(second)
    async with raw_redis(edge) as raw:
        entry = from_value(await raw.get(entry_key(ANNA)))
    assert texts(entry.snapshot) == ["while it is full", "since it has room"]


async def test_an_edge_that_hangs_breaks_no_session(
    migrated_database: str,
    own_redis_server: RedisServer,
    outbox: Path,
) -> None:
    edge = own_redis_server.url
    async with host(migrated_database, edge, outbox, edge_timeout=0.05) as memory:
        with stopped(own_redis_server.pid):
            for number in range(4):
                async with calls(memory) as session:
                    assert not session.degraded
                    session.add_message("user", f"call {number}")
                assert session.durable
            await delivered(session)
        async with calls(memory) as later:
            assert len(texts(later.snapshot)) == 4
    assert await raw_texts(migrated_database) == [f"call {number}" for number in range(4)]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda good: b"",
    "truncated": lambda good: good[: len(good) // 2],
    "without its order": lambda good: good.partition(b"\n")[2],
    "noise": lambda good: bytes(range(256)),
    "another document": lambda good: b"null",
    "a future format": lambda good: good.replace(b'"format":%d' % FORMAT, b'"format":%d' % (FORMAT + 1)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
async def test_bytes_that_are_no_entry_are_a_miss_and_are_healed(
    migrated_database: str,
    redis_url: str,
    outbox: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    async with host(migrated_database, redis_url, outbox) as memory, calls(memory) as session:
        session.add_message("user", "hello")
        await delivered(session)
    async with raw_redis(redis_url) as raw:
        good = await raw.get(entry_key(ANNA))
        bad = damage(good)
        assert bad != good
        await raw.set(entry_key(ANNA), bad)
        async with host(migrated_database, redis_url, outbox) as memory:
            async with calls(memory) as later:
                assert texts(later.snapshot) == ["hello"]
                assert later.opened_with.tier == "origin"
                assert not later.degraded
            await until(lambda: holds_something_else(raw, bad))
        assert texts(from_value(await raw.get(entry_key(ANNA))).snapshot) == ["hello"]


# The primary


async def test_while_the_primary_refuses_connections_sessions_open_from_the_edge_and_leave_durable(
    own_dsn: str, own_postgres_server: PostgresServer, redis_url: str, outbox: Path
) -> None:
    async with host(own_dsn, redis_url, outbox) as memory, calls(memory) as session:
        session.add_message("user", "before")
        await delivered(session)
    await to_thread.run_sync(own_postgres_server.stop)
    async with host(own_dsn, redis_url, outbox) as memory:
        async with calls(memory) as during:
            assert texts(during.snapshot) == ["before"]
            assert during.opened_with.tier == "edge"
            assert not during.degraded
            during.add_message("user", "during")
        assert during.durable
        async with memory.session("nobody knows her", timeout=0.5) as stranger:
            assert stranger.degraded
            stranger.add_message("user", "hello?")
        assert stranger.durable
    async with host(own_dsn, redis_url, outbox) as memory:
        async with calls(memory) as again:
            assert texts(again.snapshot) == ["before", "during"], "in the next process too"
            again.add_message("user", "still away")
        await to_thread.run_sync(own_postgres_server.restart)
        assert await delivered(again) >= 2
        await until(lambda: has_history(memory, "nobody knows her"))
    assert await raw_texts(own_dsn) == ["before", "during", "still away"]


IN_MID_COMMIT = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%commit%'"


@pytest.mark.parametrize("mode", ["immediate", "kill"])
async def test_a_primary_that_dies_in_mid_commit_gets_it_again_and_keeps_it_once(
    own_dsn: str,
    own_postgres_server: PostgresServer,
    redis_url: str,
    outbox: Path,
    mode: Literal["immediate", "kill"],
) -> None:
    async with host(own_dsn, redis_url, outbox) as memory:
        async with calls(memory) as session:
            session.add_message("user", "before")
            await delivered(session)
        async with raw_connection(own_dsn) as raw, raw_connection(own_dsn) as watching:
            await raw.execute("BEGIN; SELECT 1 FROM edgememory.users WHERE user_id = 'anna' FOR UPDATE")
            async with calls(memory) as session:
                session.add_message("user", "in mid-commit")
            await until(lambda: watching.fetchval(IN_MID_COMMIT))
            await to_thread.run_sync(own_postgres_server.restart, mode)
        await delivered(session)
    assert await raw_texts(own_dsn) == ["before", "in mid-commit"]


async def test_without_the_schema_sessions_work_degraded_and_it_is_said_what_to_run(
    database: str, redis_url: str, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with host(database, redis_url, outbox) as memory:
        async with calls(memory) as session:
            assert session.degraded
            session.add_message("user", "hello")
            assert texts(session.snapshot) == ["hello"]
        assert session.durable
        blocked = await blocked_by(memory)
        assert "edgememory migrate" in str(blocked)
        assert "edgememory migrate" in caplog.text
        await migrate(database)
        await delivered(session)
        async with calls(memory) as later:
            assert not later.degraded
            assert texts(later.snapshot) == ["hello"]
    assert await raw_texts(database) == ["hello"]


async def test_with_a_wrong_password_sessions_work_degraded_and_it_is_said(
    migrated_database: str,
    redis_url: str,
    outbox: Path,
) -> None:
    async with (
        raw_connection(migrated_database) as raw,
        plain_role(raw, migrated_database) as (role, dsn),
        host(dsn.replace("secret", "wrong"), redis_url, outbox) as memory,
    ):
        async with calls(memory) as session:
            assert session.degraded
            session.add_message("user", "hello")
        assert session.durable
        blocked = await blocked_by(memory)
        assert "password authentication failed" in str(blocked)
        assert "wrong" not in str(blocked)
        await raw.execute(f"ALTER ROLE {role} PASSWORD 'wrong'")
        await raw.execute(f"GRANT USAGE ON SCHEMA edgememory TO {role}")
        await raw.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA edgememory TO {role}")
        await delivered(session)
    assert await raw_texts(migrated_database) == ["hello"]


async def blocked_by(memory: EdgeMemory) -> StoreBlockedError:
    assert memory._running is not None
    delivery = memory._running.delivery

    async def is_blocked() -> bool:
        return delivery.blocked is not None

    await until(is_blocked)
    assert delivery.blocked is not None
    return delivery.blocked


async def test_a_change_that_the_origin_refuses_is_buried_and_the_good_ones_arrive(
    migrated_database: str,
    redis_url: str,
    outbox: Path,
) -> None:
    # Past the door: an older or a foreign program may have written it.
    talk = Talk(base=0, started=2e9)
    bad = [talk.remembers("x" * 2000), talk.says("a\0b"), talk.says("bad id", id="no uuid")]
    good = [talk.says(f"good {number}") for number in range(6)]
    stored = FileOutbox(outbox)
    await stored.append(ANNA, [*good[:3], *bad, *good[3:]])
    async with host(migrated_database, redis_url, outbox) as memory:
        async with calls(memory) as session:
            session.add_message("user", "said now")
        await delivered(session)
        assert memory.counters.changes_rejected == len(bad)
        assert (await memory.get_profile("anna")).facts == ()
    letters = await stored.dead_letters(limit=9)
    await stored.aclose()
    assert {letter.id for letter in letters} == {change.id for change in bad}
    assert all(letter.error for letter in letters)
    assert sorted(await raw_texts(migrated_database)) == [*(f"good {number}" for number in range(6)), "said now"]
    async with raw_redis(redis_url) as raw:
        entry = from_value(await raw.get(entry_key(ANNA)))
    assert (entry.snapshot.facts, entry.tentative_at) == ((), 0.0)


async def test_awkward_ids_are_users_of_their_own_on_every_store(
    migrated_database: str, redis_url: str, outbox: Path
) -> None:
    async with host(migrated_database, redis_url, outbox) as memory:
        for number, user in enumerate(AWKWARD_IDS):
            async with memory.session(user, timeout=10, leave_timeout=10) as session:
                session.add_message("user", f"I am {number}")
            await delivered(session)
    for edge in (redis_url, "redis://127.0.0.1:1"):  # from Redis, then from Postgres
        async with host(migrated_database, edge, outbox) as memory:
            for number, user in enumerate(AWKWARD_IDS):
                assert texts(await memory.get_profile(user, timeout=10)) == [f"I am {number}"]


# Several hosts


async def test_two_sessions_of_one_user_on_two_hosts_both_survive_and_see_each_other(
    migrated_database: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    async with (
        host(migrated_database, redis_url, tmp_path / "one") as one,
        host(migrated_database, redis_url, tmp_path / "two") as two,
    ):
        async with calls(one) as here, calls(two) as there:
            here.add_message("user", "said here")
            there.add_message("user", "said there")
            here.set_preference("tone", "short")
            there.remember("Lives in Lisbon")
        version = max(await delivered(here), await delivered(there))
        for memory in (one, two):
            async with memory.session("anna", at_least=version, timeout=10) as later:
                assert not later.degraded
                assert sorted(texts(later.snapshot)) == ["said here", "said there"]
                assert [fact.text for fact in later.snapshot.facts] == ["Lives in Lisbon"]
                assert later.snapshot.preferences[0].value == "short"
                assert later.snapshot.version == version
    assert sorted(await raw_texts(migrated_database)) == ["said here", "said there"]


async def test_what_another_host_has_not_delivered_yet_shows_through_the_edge(
    own_dsn: str, own_postgres_server: PostgresServer, redis_url: str, tmp_path: Path
) -> None:
    async with host(own_dsn, redis_url, tmp_path / "one") as one, host(own_dsn, redis_url, tmp_path / "two") as two:
        await one.warm("anna")
        await to_thread.run_sync(own_postgres_server.stop)
        async with calls(one) as session:
            session.add_message("user", "just said")
        async with calls(two) as elsewhere:
            assert texts(elsewhere.snapshot) == ["just said"]
        await to_thread.run_sync(own_postgres_server.restart)
        await delivered(session)


async def test_a_deletion_while_a_session_is_open_elsewhere_brings_nothing_back(
    migrated_database: str, redis_url: str, tmp_path: Path
) -> None:
    secret = f"secret {uuid4().hex}"
    async with (
        host(migrated_database, redis_url, tmp_path / "one") as one,
        host(migrated_database, redis_url, tmp_path / "two", delivery=ON_DEMAND) as two,
    ):
        async with calls(one) as session:
            session.add_message("user", secret)
            await delivered(session)
        async with calls(two) as open_elsewhere:
            assert texts(open_elsewhere.snapshot) == [secret]
            open_elsewhere.add_message("user", secret + " again")
            open_elsewhere.remember(secret)
            await two.flush()
            receipt = await one.delete_user("anna")
            assert all(store.cleared for store in receipt.stores)
            with pytest.raises(NotCommittedError):
                await delivered(open_elsewhere)
            assert open_elsewhere.ended
            open_elsewhere.add_message("user", secret)
            assert open_elsewhere.context() == ""
        assert two.counters.changes_dropped == 2
        assert two.counters.changes_ignored == 1
        async with calls(two) as again:
            assert texts(again.snapshot) == []
    await nothing_left(migrated_database, redis_url, secret)


async def test_a_late_leaving_elsewhere_undoes_no_deletion(
    migrated_database: str, redis_url: str, tmp_path: Path
) -> None:
    secret = f"secret {uuid4().hex}"
    async with (
        host(migrated_database, redis_url, tmp_path / "one") as one,
        host(migrated_database, redis_url, tmp_path / "two", delivery=ON_DEMAND) as two,
    ):
        async with calls(two) as unaware:
            unaware.add_message("user", secret)
            await delivered(unaware)
            unaware.remember(secret)
            await one.delete_user("anna")
        # It left without having heard of it, and showed the region what it knew.
        async with one.session("anna", timeout=10) as later:
            assert texts(later.snapshot) == []
        with pytest.raises(NotCommittedError):
            await delivered(unaware)
    await nothing_left(migrated_database, redis_url, secret)


async def nothing_left(dsn: str, redis_url: str, secret: str) -> None:
    """Look for *secret* in every column of every table, and in every key of the edge."""
    async with raw_connection(dsn) as raw:
        state = await raw_state(raw, ANNA)
        assert state.is_tombstone
        for table in ("users", "messages", "facts", "preferences", "summaries"):
            rows = await raw.fetch(f"SELECT row_to_json(t)::text AS row FROM edgememory.{table} t")
            assert not any(secret in row["row"] for row in rows), table
    async with raw_redis(redis_url) as edge:
        values = [await edge.get(key) async for key in edge.scan_iter()]
    assert values
    assert not any(secret.encode() in value for value in values)


async def test_the_receipt_of_a_deletion_names_an_edge_that_did_not_answer(
    migrated_database: str,
    own_redis_server: RedisServer,
    outbox: Path,
) -> None:
    async with host(migrated_database, own_redis_server.url, outbox) as memory:
        async with calls(memory) as session:
            session.add_message("user", "hello")
            await delivered(session)
        await to_thread.run_sync(own_redis_server.stop)
        receipt = await memory.delete_user("anna")
    cleared = {store.store: store.cleared for store in receipt.stores}
    assert cleared == {
        "origin": True,
        "memory": True,
        "memory of other processes": False,
        "edge": False,
        "outbox": True,
    }
    assert await raw_texts(migrated_database) == []
