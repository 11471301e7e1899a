"""Deleting a user: the origin first, then every store of the region, and a receipt that hides nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import anyio

from edgememory.apply import survives
from edgememory.errors import StoreError
from edgememory.freshness import Policy
from edgememory.models import Cleared, Entry, Receipt, UserKey
from edgememory.runtime import Runtime
from edgememory.tier import CacheTier, NearTier, ReplicaTier, store_timeout

DELETE_TIMEOUT = 10.0
REPLAY_PATIENCE = 2.0
"""For how many seconds a deletion, done by then, waits for replicas to show it."""
_REPLAY_LOOK = 0.1


async def delete_user(runtime: Runtime, user: UserKey, policy: Policy) -> Receipt:
    """Leave a tombstone at the origin and in this region's caches.

    Raises:
        StoreError: the origin did not say that it deleted the user. Nothing else is cleared then; delete again.
    """
    tombstone = await _at_the_origin(runtime, user)
    failures = await runtime.tiered.offer(user, tombstone)
    now = datetime.fromtimestamp(runtime.now(), UTC)
    seen = [_in_a_cache(tier, failures[tier.name], now) for tier in runtime.tiered.caches]
    if runtime.tiered.replica is not None:
        seen += await _at_the_replicas(runtime, runtime.tiered.replica, user, tombstone)
    stores = [
        Cleared(store=runtime.tiered.origin.name, cleared=True, effective_by=now),
        Cleared(store="memory", cleared=True, effective_by=now),
        *_elsewhere(runtime.tiered.caches, seen, now, policy.near_keep),
        *seen,
    ]
    dropped, outbox = await _in_the_outbox(runtime, user, tombstone, now)
    return Receipt(version=tombstone.snapshot.version, stores=(*stores, outbox), dropped=dropped)


async def _at_the_origin(runtime: Runtime, user: UserKey) -> Entry:
    """The breaker is not asked: a deletion is worth a try in any case. It may be repeated."""
    origin = runtime.tiered.origin
    with store_timeout(DELETE_TIMEOUT, store=origin.name, operation="delete"):
        return await origin.store.delete(user)


def _in_a_cache(tier: CacheTier, error: StoreError | None, now: datetime) -> Cleared:
    if error is not None:
        return Cleared(store=tier.name, cleared=False, error=str(error))
    return Cleared(store=tier.name, cleared=True, effective_by=now + timedelta(seconds=tier.store.cleared_after))


def _elsewhere(caches: Sequence[CacheTier], seen: Sequence[Cleared], now: datetime, near_keep: float) -> list[Cleared]:
    """What others hold is dropped unless one of *seen* confirms it, the last time when that one shows it no more."""
    near = {tier.name for tier in caches if isinstance(tier, NearTier)}
    names = ["memory of other processes", *(["other hosts"] if near else [])]
    if showing := [store.store for store in seen if not store.cleared and store.store not in near]:
        why = f"they may take it anew from what is not cleared: {', '.join(showing)}"
        return [Cleared(store=name, cleared=False, error=why) for name in names]
    last = max((store.effective_by or now for store in seen), default=now)
    return [Cleared(store=name, cleared=True, effective_by=last + timedelta(seconds=near_keep)) for name in names]


async def _at_the_replicas(runtime: Runtime, replica: ReplicaTier, user: UserKey, tombstone: Entry) -> list[Cleared]:
    """Nobody writes to a replica: it is cleared once it has replayed the deletion. Most do so within a second."""
    version = tombstone.snapshot.version
    deadline = anyio.current_time() + REPLAY_PATIENCE
    while True:
        try:
            with store_timeout(DELETE_TIMEOUT, store=replica.name, operation="get_each"):
                shown = await replica.store.get_each(user)
        except StoreError as error:
            return [Cleared(store=replica.name, cleared=False, error=str(error))]
        behind = any(isinstance(answer, Entry) and answer.snapshot.version < version for answer in shown.values())
        if not behind or anyio.current_time() > deadline:
            now = datetime.fromtimestamp(runtime.now(), UTC)
            return [_at_a_replica(name, answer, version, now) for name, answer in shown.items()]
        await anyio.sleep(_REPLAY_LOOK)


def _at_a_replica(name: str, answer: Entry | StoreError, version: int, now: datetime) -> Cleared:
    store = f"replica {name}"
    if isinstance(answer, StoreError):
        return Cleared(store=store, cleared=False, error=str(answer))
    if answer.snapshot.version < version:
        return Cleared(store=store, cleared=False, error="it has not replayed the deletion yet")
    return Cleared(store=store, cleared=True, effective_by=now)


async def _in_the_outbox(runtime: Runtime, user: UserKey, tombstone: Entry, now: datetime) -> tuple[int, Cleared]:
    """Count what the origin will drop. Delivery takes it there at once: it is still the user's data."""
    # Before the outbox is asked: it gets these, too.
    queued = runtime.writer.queued(user)
    try:
        waiting = {change.id: change for change in (*(await runtime.outbox.pending(user)).changes, *queued)}
    except StoreError as error:
        return 0, Cleared(store="outbox", cleared=False, error=str(error))
    dropped = sum(not survives(change, tombstone.snapshot) for change in waiting.values())
    runtime.delivery.wake()
    if not dropped:
        return 0, Cleared(store="outbox", cleared=True, effective_by=now)
    why = f"{dropped} changes wait there; the origin drops them when they are delivered"
    return dropped, Cleared(store="outbox", cleared=False, error=why)
