"""Reading an entry from the host's cache: a SQLite file."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Result, awaited, compare
from benchmarks.people import USER, entry_of_8_kib
from edgememory import codec
from edgememory.keys import entry_key
from edgememory.stores.host import HostStore

_NUMBER = 200


async def measured() -> AsyncIterator[Result]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cache.sqlite"
        store = HostStore(path)
        await store.put(USER, entry_of_8_kib(), keep=3600)
        key = entry_key(USER)
        with closing(sqlite3.connect(path)) as connection:

            async def plain() -> None:
                (value,) = connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
                codec.decode(value)

            yield await compare(
                "HostStore.get, 8 KiB",
                awaited(partial(store.get, USER), number=_NUMBER),
                awaited(plain, number=_NUMBER),
                beside="a plain SELECT, decoded",
                unit="µs",
                ratio_at_most=2.0,
            )
        await store.aclose()
