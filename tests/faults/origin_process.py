"""One process of many, run by `test_postgres_faults`: reads and commits, says so, and stays, as in a call."""

import asyncio
import sys

from edgememory.models import UserKey
from edgememory.stores.postgres import PostgresPrimary
from edgememory.testing.talk import Talk


async def main(dsn: str, user_id: str) -> None:
    primary = PostgresPrimary(dsn)
    user = UserKey("faults", user_id)
    for _ in range(2):
        assert (await primary.get(user)).snapshot.version % 2**32 in (0, 1)
    await primary.commit(user, [Talk().says("hello")])
    sys.stdout.write("done\n")
    sys.stdout.flush()
    # Its idle connection must close while it lives.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await primary.aclose()


asyncio.run(main(*sys.argv[1:]))
