"""What memory costs a call of LiveKit's: `python -m benchmarks.livekit`, with Geneva 150 ms away and the edge 5 ms.

Each call is of another user, in a job process of its own, with a model that answers at once. Links of `edgememory.lab`
make the distances; Postgres and Redis are real. Prints the table; needs the extras `lab` and `livekit`.
"""

import argparse
import asyncio
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from edgememory import EdgeMemory
from edgememory.lab.link import Link
from edgememory.lab.people import NAMESPACE, people
from edgememory.lab.servers import PostgresServer, RedisServer
from edgememory.stores.postgres import PostgresPrimary, migrate

GENEVA = 0.150
EDGE = 0.005
CALLS = 100
ROWS = (
    ("first", "what the first request waits for memory"),
    ("turns", "added to each further turn, with recall"),
    ("end", "added at the call's end, before the job may exit"),
)
TARGETS: Mapping[tuple[str, str], float] = {
    ("host", "first"): 0.005,
    ("edge", "first"): 0.030,
    ("host", "turns"): 0.002,
    ("edge", "turns"): 0.002,
    ("host", "end"): 0.050,
    ("edge", "end"): 0.050,
}


@contextmanager
def world() -> Iterator[tuple[str, str, str]]:
    """Yield the origin's dsn from near by, from the edge, and the edge's url."""
    geneva, edge = PostgresServer(), RedisServer()
    geneva.start()
    edge.start()
    far = Link("127.0.0.1", geneva.port, round_trip=GENEVA)
    near = Link("127.0.0.1", edge.port, round_trip=EDGE)
    try:
        dsn = geneva.create_database("calls")
        yield dsn, dsn.replace(f":{geneva.port}/", f":{far.port}/"), f"redis://127.0.0.1:{near.port}/0"
    finally:
        for each in (far, near):
            each.close()
        edge.stop()
        geneva.stop()


def configuration(folder: Path, dsn: str, redis: str, *, host: bool) -> str:
    cache = f'[[caches]]\ntype = "host"\npath = "{folder / "host.sqlite"}"\n' if host else ""
    return (
        f'namespace = "{NAMESPACE}"\n[origin]\ndsn = "{dsn}"\n{cache}'
        f'[[caches]]\ntype = "redis"\nurl = "{redis}"\n'
        f'[outbox]\ntype = "file"\npath = "{folder / "outbox.sqlite"}"\ndurable_disk = true\n'
    )


async def known(dsn: str, users: int, first: int) -> list[str]:
    """Give so many users a past, at the origin."""
    primary = PostgresPrimary(dsn)
    callers = people("caller", first + users)[first:]
    for caller in callers:
        await primary.commit(caller.key, tuple(caller.earlier_calls()))
    await primary.aclose()
    return [caller.user_id for caller in callers]


async def warm(config: Path, users: Sequence[str]) -> None:
    """Bring them into the caches of the configuration, as their last calls did."""
    async with EdgeMemory.from_config(config) as memory:
        for user in users:
            await memory.warm(user)
        await asyncio.sleep(1)  # the caches are filled in the background


def measured(folder: Path, name: str, config: str, users: Sequence[str]) -> dict[str, list[float]]:
    path, names, results = folder / f"{name}.toml", folder / f"{name}.users", folder / f"{name}.jsonl"
    path.write_text(config)
    names.write_text("\n".join(users))
    asyncio.run(warm(path, users))
    told = {"CONFIG": str(path), "USERS": str(names), "RESULTS": str(results)}
    subprocess.run(
        [sys.executable, "-m", "benchmarks.livekit_agent"],
        env=os.environ | told,
        check=True,
        stderr=sys.stderr,
    )
    costs: dict[str, list[float]] = {}
    for line in results.read_text().splitlines():
        for what, values in json.loads(line).items():
            costs.setdefault(what, []).extend(values)
    return costs


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[math.ceil(share * len(values)) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.livekit", description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS, help=f"for each of the two worlds; {CALLS} if not given")
    calls: int = parser.parse_args().calls
    table = Table("caches", "number", "calls", "p50", "p99", "target", "met")
    began, load = time.monotonic(), os.getloadavg()[0]
    with TemporaryDirectory() as folder, world() as (near_dsn, dsn, redis):
        asyncio.run(migrate(near_dsn))
        for first, name in enumerate(("host", "edge")):
            users = asyncio.run(known(near_dsn, calls, first * calls))
            place = Path(folder) / name
            place.mkdir()
            costs = measured(place, name, configuration(place, dsn, redis, host=name == "host"), users)
            if any(costs.pop("cold")):
                raise SystemExit(f"some callers were not known in the world {name!r}: these numbers would mean nothing")
            for what, title in ROWS:
                p50, p99 = percentile(costs[what], 0.5), percentile(costs[what], 0.99)
                target = TARGETS[name, what]
                shown = [f"{seconds * 1000:.2f} ms" for seconds in (p50, p99, target)]
                table.add_row(name, title, str(len(costs["end"])), *shown, "yes" if p99 < target else "no")
    Console().print(table, f"load before: {load:.2f}; {time.monotonic() - began:.0f} s", highlight=False)


if __name__ == "__main__":
    main()
