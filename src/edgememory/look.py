"""A user's memory as this process may show it: what the tiers say, and what waits in the outbox before them."""

import logging

import anyio
from msgspec import Struct

from edgememory.apply import apply, bound, survives
from edgememory.changes import Change
from edgememory.errors import StoreError
from edgememory.models import Pending, Snapshot, UserKey
from edgememory.runtime import Runtime
from edgememory.walk import Read

_log = logging.getLogger("edgememory")

REFRESH_AGE = 60.0
"""Whoever looks at an older entry has the origin asked for a newer one, in the background. Seconds."""


class Look(Struct, frozen=True):
    """What there is to show."""

    read: Read
    waiting: tuple[Change, ...]
    """What the origin has not acknowledged, as far as this process knows."""
    at_least: int
    """The version that was asked for, the outbox's floor included."""

    @property
    def snapshot(self) -> Snapshot:
        """Both, laid over each other."""
        return bound(apply(self.read.snapshot, self.waiting))


async def look(runtime: Runtime, user: UserKey, *, at_least: int = 0, timeout: float) -> Look:
    """Look into the outbox, then read at least the version that it asks for, in *timeout* seconds altogether.

    Where the outbox cannot be asked, the read is degraded: nobody knows what it should have shown.
    """
    started = anyio.current_time()
    known, pending = False, Pending()
    # Before the outbox is asked: what the writer has appended when the answer comes is in neither otherwise.
    queued = runtime.writer.queued(user)
    # An outbox that hangs takes no more than half the time: the caches may well answer.
    with anyio.CancelScope(deadline=started + timeout / 2):
        try:
            pending = await runtime.outbox.pending(user)
            known = True
        except StoreError as error:
            _log.warning("memory is read without what may wait in the outbox: %s", error)
    at_least = max(at_least, pending.floor)
    left = max(0.0, started + timeout - anyio.current_time())
    read = await runtime.tiered.read(user, at_least=at_least, timeout=left, beside=pending.beside)
    if read.status != "fresh" or read.age > REFRESH_AGE:
        runtime.tiered.refresh(user)
    if not known:
        read = Read(read.entry, "degraded", read.tier, read.age)
    deletion = runtime.tiered.deletion(user)
    waiting = tuple(change for change in (*pending.changes, *queued) if survives(change, deletion))
    return Look(read, waiting, at_least)
