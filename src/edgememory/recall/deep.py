"""Searching the whole history: the nearest replica's, or the origin's."""

import logging

import anyio

from edgememory.errors import EdgeMemoryError, StoreError
from edgememory.models import UserKey
from edgememory.recall.embedder import Embedder
from edgememory.recall.query import Candidates, Query
from edgememory.tier import store_timeout
from edgememory.tiered import TieredStore

_log = logging.getLogger("edgememory")

CANDIDATES = 30
"""How many are ranked at least. They travel: with what stands beside them some 30 KB, where turns are short."""
EMBED_TIMEOUT = 1.0
"""Seconds for a query's vector, after which it is looked for by its words alone."""


async def candidates(tiered: TieredStore, user: UserKey, query: Query, *, limit: int, timeout: float) -> Candidates:
    """Ask the replica, where there is one, and the origin if that fails: one round trip.

    Raises:
        StoreError: neither answers, within *timeout* seconds each.
    """
    wanted = max(3 * limit, CANDIDATES)
    replica, origin = tiered.replica, tiered.origin
    if replica is not None:
        try:
            with store_timeout(timeout, store=replica.name, operation="search"):
                return await replica.store.search(user, query, limit=wanted)
        except StoreError as error:
            _log.info("the origin is searched in the replica's place: %s", error)
    with store_timeout(timeout, store=origin.name, operation="search"):
        return await origin.store.search(user, query, limit=wanted)


async def meaning_of(text: str, embedder: Embedder | None) -> tuple[float, ...] | None:
    """Return the vector of *text*, or `None` where there is no embedder, or none that answers."""
    if embedder is None or not text.strip():
        return None
    try:
        with anyio.fail_after(EMBED_TIMEOUT):
            (vector,) = await embedder.embed((text,))
    except (EdgeMemoryError, TimeoutError) as error:
        _log.info("searched by words alone: %r", error)
        return None
    return tuple(vector) if any(vector) else None
