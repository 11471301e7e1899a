"""How old a replica's content looks: as old as it is, by commits of nothing at an origin where nobody talks."""

import asyncio
import logging
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import asyncpg
import pytest

from edgememory.lab.link import Link
from edgememory.lab.servers import PostgresServer, ReplicaServer
from edgememory.models import UserKey
from edgememory.stores.postgres import PostgresReplica, migrate
from edgememory.stores.postgres.heartbeat import heartbeats
from tests.raw_postgres import plain_role, raw_connection
from tests.servers import running

pytestmark = pytest.mark.anyio

USER = UserKey("heartbeat", "nobody")
EVERY = 0.2


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    """One with which nobody else talks."""
    with running(PostgresServer()) as server:
        anyio.run(migrate, server.dsn)
        yield server


@pytest.fixture(scope="module")
def upstream(primary: PostgresServer) -> Iterator[Link]:
    link = Link("127.0.0.1", primary.port, round_trip=0.0)
    yield link
    link.close()


@pytest.fixture(scope="module")
def replica(primary: PostgresServer, upstream: Link) -> Iterator[ReplicaServer]:
    with running(ReplicaServer(primary, upstream_port=upstream.port)) as server:
        yield server


@pytest.fixture
async def raw(primary: PostgresServer) -> AsyncIterator[asyncpg.Connection]:
    async with raw_connection(primary.dsn) as raw:
        yield raw


@pytest.fixture
async def store(replica: ReplicaServer) -> AsyncIterator[PostgresReplica]:
    store = PostgresReplica({"near": replica.dsn})
    yield store
    await store.aclose()


@asynccontextmanager
async def beating(dsn: str, *, pooler: bool = False) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(partial(heartbeats, dsn, pooler=pooler, every=EVERY))
        yield
        group.cancel_scope.cancel()


async def shows(store: PostgresReplica, moment: float) -> float:
    """Wait until its content is of after *moment*, and return how old it is then."""
    while (entry := await store.get(USER)).synced_at <= moment:  # noqa: ASYNC110
        await anyio.sleep(0.01)
    return time.time() - entry.synced_at


@pytest.mark.parametrize("pooler", [True, False])
async def test_heartbeats_need_no_privilege_and_leave_nothing(
    primary: PostgresServer, raw: asyncpg.Connection, store: PostgresReplica, pooler: bool
) -> None:
    async with plain_role(raw, primary.dsn) as (name, dsn):
        async with beating(dsn, pooler=pooler):
            await shows(store, time.time())
        left = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}'"
        while await raw.fetchval(left):
            await raw.execute("SELECT pg_stat_clear_snapshot()")


@pytest.mark.parametrize("lag", [0.0, 1.0, 5.0])
async def test_while_nobody_talks_a_replica_looks_as_old_as_its_lag_and_goes_on(
    primary: PostgresServer, replica: ReplicaServer, store: PostgresReplica, lag: float
) -> None:
    async with beating(primary.dsn):
        await asyncio.to_thread(replica.set_lag, lag)
        try:
            assert await shows(store, time.time()) >= lag
        finally:
            await asyncio.to_thread(replica.set_lag, 0.0)


async def test_one_that_is_cut_off_ages_although_hearts_beat(
    primary: PostgresServer, upstream: Link, store: PostgresReplica
) -> None:
    async with beating(primary.dsn):
        await shows(store, time.time())
        upstream.cut()
        began = time.time()
        while time.time() - (await store.get(USER)).synced_at < 1.0:
            assert (await store.get(USER)).synced_at < began
            await anyio.sleep(0.01)
        upstream.heal()
        await shows(store, time.time())


@pytest.mark.parametrize("fault", [Link.cut, Link.hang])
async def test_hearts_beat_again_when_the_origin_is_back(
    primary: PostgresServer, store: PostgresReplica, caplog: pytest.LogCaptureFixture, fault: Callable[[Link], None]
) -> None:
    caplog.set_level(logging.INFO, "edgememory")
    link = Link("127.0.0.1", primary.port, round_trip=0.0)
    try:
        async with beating(primary.dsn.replace(f":{primary.port}/", f":{link.port}/")):
            await shows(store, time.time())
            fault(link)
            while "no heartbeats" not in caplog.text:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            link.heal()
            await shows(store, time.time())
    finally:
        link.close()
    assert caplog.text.count("no heartbeats") == 1


@pytest.fixture
def config(tmp_path: Path, primary: PostgresServer, replica: ReplicaServer) -> Path:
    path = tmp_path / "edgememory.toml"
    path.write_text(
        f'[origin]\ndsn = "{primary.dsn}"\n'
        f'[outbox]\ntype = "file"\npath = "{tmp_path / "outbox.sqlite"}"\ndurable_disk = true\n'
        f'[[replica.servers]]\nname = "near"\ndsn = "{replica.dsn}"\n'
    )
    return path


async def test_the_worker_s_heart_beats(config: Path, store: PostgresReplica) -> None:
    main = "from edgememory.cli import main; main(prog_name='edgememory')"
    async with await anyio.open_process(
        [sys.executable, "-c", main, "work", f"--config={config}"], stdout=None, stderr=subprocess.PIPE
    ) as worker:
        with anyio.fail_after(30):
            await shows(store, time.time())
        worker.send_signal(signal.SIGTERM)
        assert worker.stderr is not None
        log = b"".join([chunk async for chunk in worker.stderr]).decode()
        assert await worker.wait() == 0, log
    assert "stopped after 0 changes" in log
