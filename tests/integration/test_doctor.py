"""The doctor on real servers: what is right, and what each fault is told as."""

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from edgememory.cli.doctor import command
from edgememory.config import (
    Config,
    FileOutboxConfig,
    OriginConfig,
    OutboxConfig,
    RedisCacheConfig,
    RedisOutboxConfig,
    ReplicaConfig,
    ReplicaServerConfig,
    UpstashCacheConfig,
    WorkersCacheConfig,
    WorkersOutboxConfig,
)
from edgememory.doctor import Part, Report, examination, examine, log_report, steps
from edgememory.lab.servers import RedisServer, ReplicaServer
from edgememory.lab.servers.redis import DURABLE
from tests.raw_postgres import raw_connection
from tests.servers import running
from tests.upstash.server import TOKEN as UPSTASH_TOKEN
from tests.upstash.server import upstash_server
from tests.worker.server import READ_TOKEN, TOKEN, WorkerServer

pytestmark = pytest.mark.anyio
SECRET = "0123456789abcdef"


@pytest.fixture
def config(migrated_database: str, tmp_path: Path) -> Config:
    """With times that a loaded machine keeps."""
    outbox = FileOutboxConfig(path=str(tmp_path / "outbox.sqlite"), durable_disk=True)
    return Config(origin=OriginConfig(dsn=migrated_database, timeout=60), outbox=outbox, key_secret=SECRET)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Of a server that lets everybody in, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def part(report: Report, name: str) -> Part:
    return next(part for part in report.parts if part.name == name)


def names(part: Part) -> list[str]:
    return [step.name for step in part.steps]


async def test_where_all_is_well_each_part_is_tried_from_the_name_to_the_probe(
    config: Config, redis_server: RedisServer, worker: WorkerServer, replica_server: ReplicaServer
) -> None:
    with upstash_server(redis_server.port) as upstash:
        caches = (
            RedisCacheConfig(url=redis_server.url, timeout=60),
            UpstashCacheConfig(url=upstash.url, token=UPSTASH_TOKEN, timeout=60),
            WorkersCacheConfig(url=worker.url, token=TOKEN, timeout=60),
        )
        outbox = WorkersOutboxConfig(url=worker.url, token=TOKEN)
        whole = replace(config, caches=caches, outbox=outbox)
        report = await examine(whole, region="sjc")
    assert report.problems == []
    assert report.region == "sjc"
    assert names(part(report, "origin")) == ["resolve", "connect", "authenticate", "schema and get"]
    reached = ["resolve", "connect", "authenticate", "get", "put", "get back"]
    assert names(part(report, "redis")) == names(part(report, "upstash")) == reached
    assert names(part(report, "workers")) == [*reached[:2], "health", *reached[2:]]
    assert names(part(report, "outbox")) == [
        *("resolve", "connect", "health", "authenticate", "append", "get back", "acknowledge")
    ]
    for each in report.parts[:-1]:
        assert each.cold_ms is not None
        assert each.warm_ms is not None
        assert 0 < each.warm_ms.p50 <= each.warm_ms.p99


async def test_nothing_of_the_probe_is_left_in_the_outbox_or_at_the_origin(
    config: Config, migrated_database: str
) -> None:
    outbox = examination.configured_outbox(config)
    assert (await examine(config)).problems == []
    depth = await outbox.depth()
    assert (depth.changes, depth.users, depth.dead) == (0, 0, 0)
    assert await outbox.claim(lease=1, limit=10) == []
    await outbox.aclose()
    async with raw_connection(migrated_database) as raw:
        assert await raw.fetchval("SELECT count(*) FROM edgememory.users") == 0


async def test_the_schema_and_the_way_to_the_origin(config: Config, migrated_database: str, silent_port: int) -> None:
    async def told(dsn: str) -> str:
        [problem] = (await examine(replace(config, origin=OriginConfig(dsn=dsn, timeout=60)))).problems
        return problem

    async with raw_connection(migrated_database) as raw:
        await raw.execute("DROP SCHEMA edgememory CASCADE")
    assert "edgememory migrate" in await told(migrated_database)
    assert "origin: resolve: no-such-host.invalid has no address" in await told("postgres://no-such-host.invalid/x")
    assert "origin: connect: nobody answers at 127.0.0.1:1" in await told("postgres://127.0.0.1:1/x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "STEP_TIMEOUT", 0.3)
        assert "authenticate: no answer within 0.3 s" in await told(f"postgres://127.0.0.1:{silent_port}/x")


async def test_a_server_that_is_no_replica_is_told(config: Config, migrated_database: str) -> None:
    servers = (ReplicaServerConfig(name="ohio", dsn=migrated_database),)
    [problem] = (await examine(replace(config, replica=ReplicaConfig(servers=servers, timeout=60)))).problems
    assert problem.startswith("ohio: ")


async def test_tokens(config: Config, worker: WorkerServer, redis_server: RedisServer) -> None:
    async def told(token: str) -> str | None:
        cache = WorkersCacheConfig(url=worker.url, token=token, timeout=60)
        return part(await examine(replace(config, caches=(cache,))), "workers").problem

    assert "get: workers_kv.get: unauthorized" in str(await told("another"))
    assert "put: workers_kv.put: forbidden: A read token cannot write" in str(await told(READ_TOKEN))
    with upstash_server(redis_server.port) as upstash:
        cache = UpstashCacheConfig(url=upstash.url, token="another", timeout=60)
        report = await examine(replace(config, caches=(cache,)))
    assert str(part(report, "upstash").problem).startswith("authenticate: ")


async def test_what_answers_but_is_no_worker_or_proves_nothing(config: Config, silent_port: int) -> None:
    with upstash_server(silent_port) as other:
        cache = WorkersCacheConfig(url=other.url, token="t", timeout=60)
        assert str(part(await examine(replace(config, caches=(cache,))), "workers").problem).startswith("health: ")
        tls = WorkersCacheConfig(url=other.url.replace("http:", "https:"), token="t", timeout=60)
        problem = part(await examine(replace(config, caches=(tls,))), "workers").problem
    assert "tls: " in str(problem)
    assert "does not prove with TLS" in str(problem)


async def test_a_redis_that_may_forget_is_no_outbox(config: Config, redis_server: RedisServer) -> None:
    def with_outbox(outbox: OutboxConfig) -> Config:
        return replace(config, outbox=outbox)

    [problem] = (await examine(with_outbox(RedisOutboxConfig(url=redis_server.url)))).problems
    assert "appendonly" in problem
    with running(RedisServer(settings=DURABLE)) as durable:
        assert (await examine(with_outbox(RedisOutboxConfig(url=durable.url)))).problems == []
    away = FileOutboxConfig(path="/no/such/volume/outbox.sqlite", durable_disk=True)
    [problem] = (await examine(with_outbox(away))).problems
    assert "is the volume mounted?" in problem


async def test_a_timeout_that_is_too_short_is_told(config: Config, redis_server: RedisServer) -> None:
    report = await examine(replace(config, caches=(RedisCacheConfig(url=redis_server.url, timeout=1e-6),)))
    [problem] = report.problems
    assert "raise the timeout" in problem


async def test_an_agent_logs_the_same_and_never_fails(
    config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="edgememory.doctor")
    report = await log_report(config)
    assert report is not None
    assert "nothing is wrong" in caplog.records[-1].message
    await log_report(replace(config, origin=OriginConfig(dsn="postgres://127.0.0.1:1/x")))
    assert (caplog.records[-1].levelname, "nobody answers" in caplog.records[-1].message) == ("WARNING", True)
    monkeypatch.setattr(examination, "configured_outbox", None)
    assert await log_report(config) is None


def test_the_command(migrated_database: str, tmp_path: Path) -> None:
    path = tmp_path / "edgememory.toml"
    path.write_text(
        f'[origin]\ndsn = "{migrated_database}"\ntimeout = 60\n[outbox]\ntype = "file"\n'
        f'path = "{tmp_path}/outbox.sqlite"\ndurable_disk = true\n'
    )

    def run(*options: str) -> Result:
        return CliRunner().invoke(command, ["--config", str(path), *options])

    assert (run().exit_code, "nothing is wrong" in run().output) == (0, True)
    assert run("--offline").output == "the configuration is valid\n"
    document = json.loads(run("--json").output)
    assert [part["name"] for part in document["parts"]] == ["origin", "outbox"]
    assert document["problems"] == []
    assert run("--as-agent").exit_code == 0
    path.write_text(path.read_text().replace(migrated_database, "postgres://user:very-secret@127.0.0.1:1/x"))
    for options in ([], ["--json"], ["--as-agent"]):
        done = run(*options)
        assert done.exit_code == 1
        assert "very-secret" not in done.output
    assert run("--offline").exit_code == 0
    path.write_text("[origin")
    assert (run().exit_code, run("--offline", "--json").exit_code) == (2, 2)
