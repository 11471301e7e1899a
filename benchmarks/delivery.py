"""How fast one agent process delivers what has piled up in its outbox, commit by commit."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Result, Round, in_turns, result
from benchmarks.people import a_call
from benchmarks.postgres import Plain, origin
from edgememory.background import Background
from edgememory.models import UserKey
from edgememory.outbox.delivery import Delivery
from edgememory.outbox.file import FileOutbox
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.postgres import PostgresPrimary
from edgememory.telemetry import Counters
from edgememory.tier import OriginTier, Tier
from edgememory.tiered import TieredStore

_CHANGES = 3
_BESIDE = "asyncpg, the same commits"
_NOTE = "claimed from the file outbox, committed, held in process memory, acknowledged"


async def measured() -> AsyncIterator[Result]:
    with TemporaryDirectory() as folder:
        outbox = FileOutbox(Path(folder) / "outbox.sqlite")
        async with origin() as (primary, plain, users), Background(Counters()) as background:
            delivery = _delivery(outbox, primary, background)
            background.start(delivery.run)
            ways = {"ours": _delivered(delivery, outbox, users), "plain": _committed(plain, users)}
            seconds = await in_turns(ways, rounds=10)
        await outbox.aclose()
    name = "Delivery of {} by PostgresPrimary"
    yield result(
        name.format("commits"), seconds["ours"], seconds["plain"], beside=_BESIDE, unit="commits/s", note=_NOTE
    )
    ours, theirs = ([cost / _CHANGES for cost in seconds[way]] for way in ("ours", "plain"))
    yield result(name.format("changes"), ours, theirs, beside=_BESIDE, unit="changes/s", note=f"{_CHANGES} a commit")


def _delivery(outbox: FileOutbox, primary: PostgresPrimary, background: Background) -> Delivery:
    tier: OriginTier = Tier(name="origin", store=primary, timeout=2.0)
    tiered = TieredStore(background=background, near=InMemoryStore(), caches=(), origin=tier)
    return Delivery(outbox=outbox, origin=primary, offer=tiered.offer, background=background, counters=Counters())


def _delivered(delivery: Delivery, outbox: FileOutbox, users: list[UserKey]) -> Round:
    async def once() -> float:
        for user in users:
            await outbox.append(user, a_call())
        started = time.perf_counter()
        await delivery.drained()
        seconds = time.perf_counter() - started
        if (left := (await outbox.depth()).changes) > 0:
            raise RuntimeError(f"{left} changes were not delivered")
        return seconds / len(users)

    return once


def _committed(plain: Plain, users: list[UserKey]) -> Round:
    async def once() -> float:
        bodies = [(user, a_call()) for user in users]
        started = time.perf_counter()
        for user, changes in bodies:
            await plain.commit(user, changes)
        return (time.perf_counter() - started) / len(users)

    return once
