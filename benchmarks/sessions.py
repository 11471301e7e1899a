"""Opening and leaving a session: user and origin in process memory, the outbox in a file."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import ROUNDS, Result, Round, awaited, compare
from benchmarks.outbox import PlainTable
from benchmarks.people import message
from edgememory.client import EdgeMemory
from edgememory.lab.people import NAMESPACE, Person, people
from edgememory.outbox.file import FileOutbox
from edgememory.parts import ORIGIN_TIMEOUT, Parts
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.tier import OriginTier, Tier

_NUMBER = 10
_CALLERS = people("caller", _NUMBER * (ROUNDS + 1))
_SAID = ("I moved to Lisbon last week", "Lisbon, how nice. Shall the invoices go there too?")


async def measured() -> AsyncIterator[Result]:
    with TemporaryDirectory() as folder, closing(PlainTable(Path(folder) / "plain.sqlite")) as plain:
        async with _agent(Path(folder) / "outbox.sqlite") as memory:
            first, held = _CALLERS[0], {_CALLERS[0].user_id: "an entry"}

            async def opened_and_left() -> None:
                async with memory.session(first.user_id):
                    pass

            async def selected() -> object:
                return held[first.user_id], plain.select()

            yield await compare(
                "a session opened and left, nothing said",
                awaited(opened_and_left, number=200),
                awaited(selected, number=200),
                beside="a dict and SELECT in the same file system",
                unit="µs",
                note="in it: a read of the outbox, a hot read, the session itself",
            )
            yield await compare(
                "a session opened, two things said, left",
                _calls(memory, iter(_CALLERS)),
                _inserts(plain),
                beside="a durable INSERT of both, on the loop's thread",
                unit="µs",
                note="in it: the above, changes made and shown, and appended in a thread; the"
                " tentative entry held. Delivery begins meanwhile",
            )


@asynccontextmanager
async def _agent(outbox: Path) -> AsyncGenerator[EdgeMemory]:
    """An open memory in whose process all callers are warm."""
    origin = InMemoryOrigin()
    for caller in _CALLERS:
        await origin.commit(caller.key, tuple(caller.earlier_calls()))
    tier: OriginTier = Tier(name="origin", store=origin, timeout=ORIGIN_TIMEOUT)
    async with EdgeMemory(Parts(origin=tier, outbox=FileOutbox(outbox)), namespace=NAMESPACE) as memory:
        for caller in _CALLERS:
            await memory.warm(caller.user_id)
        yield memory


def _calls(memory: EdgeMemory, callers: Iterator[Person]) -> Round:
    """A round of calls, each of another user: histories stay as long as they are. Delivery is waited for untimed."""

    async def once() -> float:
        seconds = 0.0
        for _ in range(_NUMBER):
            caller = next(callers)
            started = time.perf_counter()
            async with memory.session(caller.user_id) as session:
                session.add_message("user", _SAID[0])
                session.add_message("assistant", _SAID[1])
            seconds += time.perf_counter() - started
            await session.committed()
        return seconds / _NUMBER

    return once


def _inserts(plain: PlainTable) -> Round:
    async def insert() -> None:
        plain.insert([message(text) for text in _SAID])

    return awaited(insert, number=_NUMBER)
