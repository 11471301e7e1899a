"""Deleting a user: the origin first, then every store of the region, and a receipt that hides nothing."""

from datetime import UTC, datetime, timedelta

from edgememory.apply import survives
from edgememory.errors import StoreError
from edgememory.freshness import Policy
from edgememory.models import Cleared, Entry, Receipt, UserKey
from edgememory.runtime import Runtime
from edgememory.store import MemoryStore
from edgememory.tier import Tier, store_timeout

DELETE_TIMEOUT = 10.0


async def delete_user(runtime: Runtime, user: UserKey, policy: Policy) -> Receipt:
    """Leave a tombstone at the origin and in this region's caches.

    Raises:
        StoreError: the origin did not say that it deleted the user. Nothing else is cleared then; delete again.
    """
    tombstone = await _at_the_origin(runtime, user)
    failures = await runtime.tiered.offer(user, tombstone)
    now = datetime.fromtimestamp(runtime.now(), UTC)
    stores = [
        Cleared(store=runtime.tiered.origin.name, cleared=True, effective_by=now),
        Cleared(store="memory", cleared=True, effective_by=now),
        Cleared(
            store="memory of other processes",
            cleared=True,
            effective_by=now + timedelta(seconds=policy.near_keep),
        ),
    ]
    for name, error in failures.items():
        cleared = error is None
        stores.append(
            Cleared(
                store=name,
                cleared=cleared,
                effective_by=now if cleared else None,
                error=None if error is None else str(error),
            )
        )
    if runtime.tiered.replica is not None:
        stores.append(await _at_the_replica(runtime.tiered.replica, user, tombstone, now))
    dropped, outbox = await _in_the_outbox(runtime, user, tombstone, now)
    return Receipt(version=tombstone.snapshot.version, stores=(*stores, outbox), dropped=dropped)


async def _at_the_origin(runtime: Runtime, user: UserKey) -> Entry:
    """The breaker is not asked: a deletion is worth a try in any case. It may be repeated."""
    origin = runtime.tiered.origin
    with store_timeout(DELETE_TIMEOUT, store=origin.name, operation="delete"):
        return await origin.store.delete(user)


async def _at_the_replica(replica: Tier[MemoryStore], user: UserKey, tombstone: Entry, now: datetime) -> Cleared:
    """Nobody writes to a replica: it is cleared once it has replayed the deletion."""
    version = tombstone.snapshot.version
    try:
        entry = await replica.get(user, at_least=version)
    except StoreError as error:
        return Cleared(store=replica.name, cleared=False, error=str(error))
    if entry is None or entry.snapshot.version < version:
        return Cleared(store=replica.name, cleared=False, error="it has not replayed the deletion yet")
    return Cleared(store=replica.name, cleared=True, effective_by=now)


async def _in_the_outbox(runtime: Runtime, user: UserKey, tombstone: Entry, now: datetime) -> tuple[int, Cleared]:
    """Count what the origin will drop. Delivery takes it there at once: it is still the user's data."""
    try:
        waiting = (await runtime.outbox.pending(user)).changes
    except StoreError as error:
        return 0, Cleared(store="outbox", cleared=False, error=str(error))
    dropped = sum(not survives(change, tombstone.snapshot) for change in waiting)
    runtime.delivery.wake()
    if not dropped:
        return 0, Cleared(store="outbox", cleared=True, effective_by=now)
    why = f"{dropped} changes wait there; the origin drops them when they are delivered"
    return dropped, Cleared(store="outbox", cleared=False, error=why)
