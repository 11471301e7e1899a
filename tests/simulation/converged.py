"""What stores and sessions show once everything has healed, beside what the origin has."""

import anyio
from msgspec.structs import replace

from edgememory.apply import bound
from edgememory.models import Entry, Snapshot, UserKey
from edgememory.testing.history import Converged
from tests.simulation.process import NAMESPACE, Process
from tests.simulation.stores import true_time

REFRESHES_WITHIN = 3.0


async def converge(process: Process) -> None:
    """Read every user, let a ttl pass, read again; by then the process and the region's cache show the origin's.

    So does a session that was opened when the ttl had passed, and was open while the newer entry came.
    """
    world, memory = process.world, process.memory
    for user in world.users:
        await memory.warm(user)
    await anyio.sleep(world.history.policy.ttl + 1)
    for user in world.users:
        async with memory.session(user) as session:
            await anyio.sleep(REFRESHES_WITHIN)
            _note(process, user, "a session", session.snapshot)
        _note(process, user, "memory", _settled((await memory.warm(user)).entry))
        _note(process, user, "edge", _settled(await process.host.region.held.get(UserKey(NAMESPACE, user))))


def _note(process: Process, user: str, store: str, held: Snapshot) -> None:
    expected = bound(process.world.ledger.state(UserKey(NAMESPACE, user)))
    process.world.history.add(
        Converged(
            at=true_time(),
            region=process.host.region.name,
            store=f"{store} of {process.name}",
            user=user,
            held=_content(held),
            expected=_content(expected),
        )
    )


def _settled(entry: Entry | None) -> Snapshot:
    """A cache that holds nothing of a user that does not exist is as right as one that says so."""
    return Snapshot(version=0, exists=False) if entry is None else entry.snapshot


def _content(snapshot: Snapshot) -> str:
    """Of a user who was never there, nothing matters."""
    never_there = not snapshot.exists and not snapshot.is_tombstone
    return repr(replace(snapshot, version=0, erased_time=0.0) if never_there else snapshot)
