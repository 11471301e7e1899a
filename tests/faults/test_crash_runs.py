"""Agents under load that are killed at any moment, while their servers restart: held to the promises, as worlds are."""

import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from time import sleep

import anyio
import msgspec
import pytest

from edgememory.lab.servers import PostgresServer, RedisServer
from edgememory.lab.servers.redis import DURABLE
from edgememory.models import Snapshot, UserKey
from edgememory.stores.postgres import migrate
from edgememory.testing.history import Event, Got, History, Left, Made
from edgememory.testing.promises import violations
from tests.faults.agent_process import NAMESPACE
from tests.faults.test_crash import ROOT, finished, started
from tests.raw_postgres import raw_connection, raw_state
from tests.servers import running

_EVENT = msgspec.json.Decoder[Got | Made | Left](Got | Made | Left)
LONGEST_LIFE = 0.6
LONGEST_OUTAGE = 0.3


@pytest.fixture
def durable_redis() -> Iterator[RedisServer]:
    with running(RedisServer(settings=DURABLE)) as server:
        yield server


@dataclass
class Site:
    """Where agents run, and what may crash under them. Each server is on its disk with what it has answered for."""

    dsn: str
    place: str
    folder: Path
    dice: random.Random
    servers: list[tuple[Callable[[], None], Callable[[], None]]]
    """How to kill each, and how to bring it back."""

    def short_life(self, number: int) -> list[Event]:
        """Run an agent, take a server away from it perhaps, and kill it; return what it had said."""
        said = self.folder / f"life-{number}.jsonl"
        arguments = ["load", self.dsn, self.place, f"life-{number}", f"people-{number // 2}"]
        with said.open("wb") as file:
            agent = Popen([sys.executable, "-m", "tests.faults.agent_process", *arguments], cwd=ROOT, stdout=file)
            while not said.stat().st_size and agent.poll() is None:
                sleep(0.01)
            self._pass_some_time(LONGEST_LIFE)
            stop, restart = self.dice.choice([(_nothing, _nothing), *self.servers])
            stop()
            self._pass_some_time(LONGEST_OUTAGE)
            if self.dice.random() < 0.5:
                restart()
                self._pass_some_time(LONGEST_LIFE)
                agent.kill()
            else:
                agent.kill()
                restart()
            agent.wait()
        # The kill may have cut the last line short.
        return [_EVENT.decode(line) for line in said.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def _pass_some_time(self, longest: float) -> None:
        sleep(self.dice.uniform(0, longest))


def _nothing() -> None:
    """No server crashes."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("outbox", ["file", "redis"])
def test_whatever_dies_nothing_is_lost_and_nothing_is_there_twice(
    own_postgres_server: PostgresServer,
    durable_redis: RedisServer,
    outbox: str,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    runs = 100 if pytestconfig.getoption("--hypothesis-profile") == "soak" else 5
    seed = random.randrange(2**32)
    dsn = own_postgres_server.create_database("crash")
    anyio.run(migrate, dsn)
    site = Site(
        dsn,
        str(tmp_path / "outbox.sqlite") if outbox == "file" else durable_redis.url,
        tmp_path,
        random.Random(seed),
        [(lambda: own_postgres_server.stop("immediate"), own_postgres_server.restart)],
    )
    if outbox == "redis":
        site.servers.append((durable_redis.stop, durable_redis.restart))
    history = History(open_timeout=math.inf, leave_timeout=math.inf)
    for number in range(runs):
        history.events += site.short_life(number)
    finished(started("deliver", dsn, site.place))
    history.final = anyio.run(_final, dsn, {made.user for made in history.of(Made)})
    assert not violations(history), f"with seed {seed}"
    assert sum(left.durable for left in history.of(Left)) > runs, "nothing much happened"
    assert {got.tier for got in history.of(Got)} >= {"memory", "origin"}
    print(f"{runs} kills, {sum(left.durable for left in history.of(Left))} durable calls, seed {seed}")


async def _final(dsn: str, users: set[str]) -> dict[str, Snapshot]:
    async with raw_connection(dsn) as raw:
        return {user: await raw_state(raw, UserKey(NAMESPACE, user)) for user in users}
