"""Searching the whole history: the nearest replica's, or the origin's."""

import logging

from edgememory.errors import StoreError
from edgememory.models import UserKey
from edgememory.recall.query import Candidates, Query
from edgememory.tier import store_timeout
from edgememory.tiered import TieredStore

_log = logging.getLogger("edgememory")

CANDIDATES = 40
"""How many are ranked at least. They travel: with what stands beside them some 40 KB, where turns are short."""


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
