"""Real processes that are killed: what they called durable reaches Postgres, each message once."""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import sleep

import anyio
import pytest
from redis import Redis

from edgememory.lab.servers import RedisServer
from edgememory.lab.servers.redis import DURABLE
from tests.raw_postgres import raw_connection
from tests.servers import running
from tests.worker.server import WorkerServer

ROOT = Path(__file__).parents[2]
FOR_EVER = -1
NOBODY_LISTENS = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture(scope="module")
def durable_redis() -> Iterator[RedisServer]:
    with running(RedisServer(settings=DURABLE)) as server:
        yield server


@pytest.fixture(params=["file", "redis", "workers"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where it is."""
    if request.param == "file":
        return str(tmp_path / "outbox.sqlite")
    if request.param == "workers":
        worker: WorkerServer = request.getfixturevalue("empty_worker")
        return worker.url
    server: RedisServer = request.getfixturevalue("durable_redis")
    with Redis.from_url(server.url) as raw:
        raw.flushall()
    return server.url


def started(*arguments: str | int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.faults.agent_process", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def first_words(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    words = process.stdout.readline().split()
    assert words, "the process ended before it had said anything"
    return words


def killed(process: subprocess.Popen[str]) -> list[str]:
    """Kill it at once, and return what it had still said."""
    process.kill()
    rest, _ = process.communicate()
    # The kill may have cut the last line short.
    return "".join(line for line in rest.splitlines(keepends=True) if line.endswith("\n")).split()


def finished(process: subprocess.Popen[str]) -> list[str]:
    said, _ = process.communicate()
    assert process.returncode == 0
    return said.split()


def in_postgres(dsn: str) -> Counter[str]:
    async def read() -> Counter[str]:
        async with raw_connection(dsn) as raw:
            return Counter(row["text"] for row in await raw.fetch("SELECT text FROM edgememory.messages"))

    return anyio.run(read)


def assert_once(dsn: str, durable: list[str]) -> None:
    there = in_postgres(dsn)
    assert set(durable) <= set(there), "durable, and lost"
    assert set(there.values()) == {1}


@pytest.mark.parametrize("origin_is", ["reachable", "away"])
def test_what_was_left_just_before_a_kill_is_delivered_by_the_next_process(
    migrated_database: str, outbox: str, origin_is: str
) -> None:
    agent = started("talk", migrated_database if origin_is == "reachable" else NOBODY_LISTENS, outbox, "a", FOR_EVER)
    durable = first_words(agent)
    durable += killed(agent)
    if origin_is == "away":
        assert not in_postgres(migrated_database)
    finished(started("deliver", migrated_database, outbox))
    assert_once(migrated_database, durable)


def test_two_processes_on_one_outbox_deliver_everything_once(migrated_database: str, outbox: str) -> None:
    agents = [started("talk", migrated_database, outbox, name, 30) for name in ("a", "b")]
    durable = [text for agent in agents for text in finished(agent)]
    assert len(durable) == 2 * 30 * 3
    finished(started("deliver", migrated_database, outbox))
    assert in_postgres(migrated_database) == Counter(durable)


def test_an_agent_under_load_that_is_killed_ten_times_loses_nothing(migrated_database: str, outbox: str) -> None:
    durable: list[str] = []
    for life in range(10):
        agent = started("talk", migrated_database, outbox, f"life-{life}", FOR_EVER)
        durable += first_words(agent)
        sleep(random.uniform(0, 0.3))
        durable += killed(agent)
    finished(started("deliver", migrated_database, outbox))
    assert_once(migrated_database, durable)


def test_unplugged_the_next_call_remembers_what_was_said_before_the_plug_was_pulled(
    migrated_database: str, worker: WorkerServer, pytestconfig: pytest.Config
) -> None:
    """A container that is killed, and takes its disk along, while Geneva is away; another one takes the next call."""
    runs = 50 if pytestconfig.getoption("--hypothesis-profile") == "soak" else 5
    durable: list[str] = []
    for run in range(runs):
        worker.empty_outboxes()
        agent = started("talk", NOBODY_LISTENS, worker.url, f"run-{run}", FOR_EVER)
        said = [text for _ in range(3) for text in first_words(agent)]
        said += killed(agent)
        recalled = finished(started("recall", NOBODY_LISTENS, worker.url))
        last_of_each_user = said[-9:]
        assert set(last_of_each_user) <= set(recalled)
        durable += said
        finished(started("deliver", migrated_database, worker.url))
    assert_once(migrated_database, durable)
