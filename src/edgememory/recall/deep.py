"""Searching the whole history: the nearest replica's, or the origin's."""

import logging
import math
from collections.abc import Callable, Iterable

import anyio
from anyio.lowlevel import checkpoint

from edgememory.errors import EdgeMemoryError, StoreError
from edgememory.models import UserKey
from edgememory.recall.embedder import Embedder
from edgememory.recall.query import Candidates, Item, Match, Query
from edgememory.recall.rank import LONGEST_TEXT, Ranking
from edgememory.tier import store_timeout
from edgememory.tiered import TieredStore

_log = logging.getLogger("edgememory")

CANDIDATES = 20
"""How many are ranked at least, and twice as many as are wanted. They travel: with what stands beside them some 20 KB,
where turns are short. On 129 questions about talk of LoCoMo's kind 15 to 60 of them gave the same evidence recall."""
PORTION = 8192
"""Characters that are read in one go, a millisecond or two: hundreds of long texts would hold up a call's audio."""
EMBED_TIMEOUT = 1.0
"""Seconds for a query's vector, after which it is looked for by its words alone."""


async def candidates(tiered: TieredStore, user: UserKey, query: Query, *, limit: int, timeout: float) -> Candidates:
    """Ask the replica, where there is one, and the origin if that fails, or lags behind a deletion: one round trip.

    Raises:
        StoreError: neither answers, within *timeout* seconds each.
    """
    wanted = max(2 * limit, CANDIDATES)
    replica, origin = tiered.replica, tiered.origin
    if replica is not None:
        try:
            with store_timeout(timeout, store=replica.name, operation="search"):
                found = await replica.store.search(user, query, limit=wanted)
            if found.version >= tiered.deletion(user).version:
                return found
        except StoreError as error:
            _log.info("the origin is searched in the replica's place: %s", error)
    with store_timeout(timeout, store=origin.name, operation="search"):
        return await origin.store.search(user, query, limit=wanted)


async def reranked(found: Candidates, query: Query, text: str, *, limit: int) -> list[Match]:
    """Rank what was found for *text*."""
    ranking = Ranking(found, query, text)
    await read_in_portions(found.items, ranking.read)
    return ranking.matches(limit)


async def read_in_portions(items: Iterable[Item], read: Callable[[Item], None]) -> None:
    """Read each, and let others run in between."""
    characters = 0
    for item in items:
        read(item)
        characters += len(item.text)
        if characters >= PORTION:
            characters = 0
            await checkpoint()


async def meaning_of(
    text: str, embedder: Embedder | None, *, timeout: float = EMBED_TIMEOUT
) -> tuple[float, ...] | None:
    """Return the vector of *text*, or `None` where there is no embedder, or none that answers with one in time."""
    text = text[:LONGEST_TEXT]  # as much of it is read for its words
    if embedder is None or not text.strip():
        return None
    try:
        with anyio.fail_after(min(timeout, EMBED_TIMEOUT)):
            (vector,) = await embedder.embed((text,))
        length = math.sqrt(math.fsum(part * part for part in vector))
    except (EdgeMemoryError, TimeoutError) as error:
        _log.info("searched by words alone: %r", error)
        return None
    except Exception:  # somebody's embedder: a turn must not fail by it
        _log.exception("an embedder failed as none may")
        return None
    return tuple(vector) if 0 < length < math.inf else None
