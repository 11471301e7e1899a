"""`PostgresReplica`: read-only copies of the origin, of which the nearest is asked."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from edgememory.errors import ConfigError, CorruptEntryError, StoreBlockedError, StoreError, StoreUnavailableError
from edgememory.models import Entry, UserKey
from edgememory.recall.query import Candidates, Query
from edgememory.store import ReplicaStore
from edgememory.stores.postgres.connections import Connections
from edgememory.stores.postgres.documents import candidates_of, entry_of, near_of, query_document, vector_text
from edgememory.stores.postgres.errors import postgres_errors
from edgememory.stores.postgres.line import open_line
from edgememory.stores.postgres.nearest import Copy, choose, in_turn
from edgememory.stores.postgres.probe import address_of, round_trip

_log = logging.getLogger("edgememory")

# One that was promoted is no copy any more: it would call its content true as of now, for ever.
_GET = "SELECT CASE WHEN pg_is_in_recovery() THEN edgememory.get($1, $2)::text END"
_SEARCH_NEAR = "SELECT CASE WHEN pg_is_in_recovery() THEN edgememory.search_near($1, $2, $3::json, $4)::text END"
_SEARCH = "SELECT CASE WHEN pg_is_in_recovery() THEN edgememory.search($1, $2, $3::json)::text END"
_PROMOTED = (
    "it is no replica: it follows nobody. If it was promoted by mistake, make it a replica again; if it is the new"
    " primary, put it into [origin] and take it out of [replica]"
)
MEASURE_EVERY = 60.0
"""Seconds after which the next reader has the distances measured again, in the background."""
MEASURE_AGAIN = 1.0
"""The same, while the chosen one is in trouble."""
_MEASURE_TIMEOUT = 2.0
_EACH_TIMEOUT = 2.0
"""Includes connecting, as with the origin."""


class PostgresReplica:
    """Streaming replicas of a `PostgresPrimary`, by name. Needs the extra `postgres`; asyncio only.

    The nearest is asked, by measured round trip; the first in order until that is known. One that does not answer is
    passed over, within the same `get` if it says so at once. An entry is as old as the last commit that the replica
    has replayed (`synced_at`): where the origin is idle, `edgememory work` keeps that young by heartbeats.
    Each server has connections of its own, as in `PostgresPrimary`.
    """

    def __init__(
        self,
        servers: Mapping[str, str],
        *,
        max_connections: int = 2,
        idle_close: float = 60.0,
        pooler: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """*servers* are dsns by name.

        Raises:
            ConfigError: there is none.
        """
        if not servers:
            raise ConfigError("PostgresReplica needs one server at least: a dsn, by its name")
        self._monotonic = monotonic
        self._copies = [Copy(name) for name in servers]
        self._addresses = {name: address_of(dsn) for name, dsn in servers.items()}
        self._connections = {
            name: Connections(
                partial(open_line, dsn, read=_GET, pooler=pooler),
                most=max_connections,
                idle_close=idle_close,
                asks=not pooler,
            )
            for name, dsn in servers.items()
        }
        self._chosen = self._copies[0]
        self._measured_at: float | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._closed = False

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        return entry_of(await self._ask_in_turn("get", _GET, user))

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        document = query_document(query, limit)
        if query.vector is None:
            return candidates_of(await self._ask_in_turn("search", _SEARCH, user, document))
        vector = vector_text(query.vector)
        return near_of(await self._ask_in_turn("search", _SEARCH_NEAR, user, document, vector))

    async def get_each(self, user: UserKey) -> Mapping[str, Entry | StoreError]:
        async def one(copy: Copy) -> Entry | StoreError:
            try:
                async with asyncio.timeout(_EACH_TIMEOUT):
                    return entry_of(await self._ask(copy, "get", _GET, user))
            except StoreError as error:
                return error
            except CorruptEntryError as error:
                return StoreBlockedError(str(error), store=f"replica {copy.name}", operation="get")
            except TimeoutError:
                why = f"no answer within {_EACH_TIMEOUT:g} s"
                return StoreUnavailableError(why, store=f"replica {copy.name}", operation="get")

        answers = await asyncio.gather(*map(one, self._copies))
        return {copy.name: answer for copy, answer in zip(self._copies, answers, strict=True)}

    async def warm(self) -> None:
        """Measure all distances, and open one connection to the nearest that lets us in."""
        await self._measure()
        errors: list[StoreError] = []
        for copy in in_turn(self._copies, self._chosen, self._monotonic()):
            try:
                return await self._connect(copy)
            except StoreError as error:
                errors.append(error)
        raise _all_failed(errors, "warm")

    async def aclose(self) -> None:
        self._closed = True
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.gather(self._measuring, return_exceptions=True)
        for connections in self._connections.values():
            await connections.aclose()

    async def _ask_in_turn(self, operation: str, statement: str, user: UserKey, *arguments: object) -> str:
        self._measure_in_time()
        errors: list[StoreError] = []
        for copy in in_turn(self._copies, self._chosen, self._monotonic()):
            try:
                return await self._ask(copy, operation, statement, user, *arguments)
            except StoreError as error:
                errors.append(error)
        raise _all_failed(errors, operation)

    async def _ask(self, copy: Copy, operation: str, statement: str, user: UserKey, *arguments: object) -> str:
        store, asked = f"replica {copy.name}", self._monotonic()
        try:
            with postgres_errors(operation, store=store):
                raw = await self._connections[copy.name].fetchval(statement, user.namespace, user.user_id, *arguments)
            if not isinstance(raw, str):
                raise StoreBlockedError(_PROMOTED, store=store, operation=operation)
        except StoreError:
            copy.failed(self._monotonic())
            raise
        except asyncio.CancelledError:
            # Its time was up, or another tier was faster: only the first is held against it.
            if copy.is_overdue(self._monotonic() - asked):
                copy.failed(self._monotonic())
            raise
        copy.answered()
        return raw

    async def _connect(self, copy: Copy) -> None:
        try:
            with postgres_errors("warm", store=f"replica {copy.name}"):
                await self._connections[copy.name].warm()
        except StoreError:
            copy.failed(self._monotonic())
            raise

    def _measure_in_time(self) -> None:
        now = self._monotonic()
        every = MEASURE_AGAIN if self._chosen.is_down(now) else MEASURE_EVERY
        if self._closed or (self._measured_at is not None and now - self._measured_at < every):
            return
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.get_running_loop().create_task(self._measure())

    async def _measure(self) -> None:
        """Measure, and connect to whoever is nearest now before readers are sent there."""
        self._measured_at = self._monotonic()
        await asyncio.gather(*map(self._measure_one, self._copies))
        nearest = choose(self._copies, self._chosen)
        if nearest is self._chosen:
            return
        try:
            await self._connect(nearest)
        except StoreError as error:
            _log.info("%s", error)
            return
        _log.info("reading from replica %s, %.0f ms away", nearest.name, nearest.round_trip * 1000)
        self._chosen = nearest

    async def _measure_one(self, copy: Copy) -> None:
        address = self._addresses[copy.name]
        try:
            async with asyncio.timeout(_MEASURE_TIMEOUT):
                copy.round_trip = 0.0 if address is None else await round_trip(*address)
        except OSError:  # a TimeoutError is one
            copy.round_trip = math.inf


def _all_failed(errors: Sequence[StoreError], operation: str) -> StoreError:
    if len(errors) == 1:
        return errors[0]
    all_blocked = all(isinstance(error, StoreBlockedError) for error in errors)
    kind = StoreBlockedError if all_blocked else StoreUnavailableError
    failure = kind("; ".join(map(str, errors)), store="replica", operation=operation)
    failure.__cause__ = errors[0]
    return failure


if TYPE_CHECKING:
    _: type[ReplicaStore] = PostgresReplica
