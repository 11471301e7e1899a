"""Heartbeats: commits of nothing, so that an idle origin does not look like a replica that lags."""

import logging
from functools import partial

import anyio

from edgememory.errors import StoreError
from edgememory.stores.postgres.connections import Connections
from edgememory.stores.postgres.errors import postgres_errors
from edgememory.stores.postgres.line import open_line
from edgememory.tier import store_timeout

_log = logging.getLogger("edgememory")

EVERY = 10.0
"""Seconds: by so much more than its lag may a replica's content look old."""
# Whoever asks for a transaction id gets one, and with it a commit record that replicas replay. That takes no table,
# no privilege, and leaves nothing to vacuum.
_BEAT = "SELECT pg_current_xact_id()::text"


async def heartbeats(dsn: str, *, pooler: bool, every: float = EVERY) -> None:
    """Commit at the origin every so many seconds, until cancelled. Any number of processes may do this.

    The connection is one of its own: a heartbeat that waited behind deliveries would make every replica look old.
    """
    connections = Connections(partial(open_line, dsn, pooler=pooler), most=1, idle_close=2 * every, asks=not pooler)
    failing = False
    try:
        while True:
            try:
                with store_timeout(every, store="origin", operation="heartbeat"), postgres_errors("heartbeat"):
                    await connections.fetchval(_BEAT)
            except StoreError as error:
                if not failing:
                    _log.warning("no heartbeats: replicas will look older than they are. %s", error)
                failing = True
            else:
                if failing:
                    _log.info("heartbeats again")
                failing = False
            await anyio.sleep(every)
    finally:
        with anyio.CancelScope(shield=True):
            await connections.aclose()
