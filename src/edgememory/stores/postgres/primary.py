"""`PostgresPrimary`: the origin."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import asyncpg
import msgspec
from msgspec import Struct

from edgememory.changes import Change
from edgememory.errors import ConfigError
from edgememory.models import Awaiting, Committed, Entry, Message, Page, Refused, UserKey
from edgememory.recall.query import Candidates, Query
from edgememory.store import OriginStore
from edgememory.stores.paging import check_page, page
from edgememory.stores.postgres.connections import Connections
from edgememory.stores.postgres.documents import (
    GET,
    SEARCH,
    SEARCH_NEAR,
    candidates_of,
    entry_of,
    near_of,
    query_document,
    vector_text,
)
from edgememory.stores.postgres.errors import postgres_errors
from edgememory.stores.postgres.line import open_line

_COMMIT = "SELECT edgememory.commit($1, $2, $3::json)::text"
_DELETE = "SELECT edgememory.delete_user($1, $2)::text"
_GET_MESSAGES = "SELECT edgememory.get_messages($1, $2, $3, $4::text::uuid, $5)::text"
_CLAIM = "SELECT edgememory.claim_extractions($1, $2, $3)::text"
_FINISH = "SELECT edgememory.finish_extraction($1, $2, $3::text::uuid, $4::json)::text"
_HAS_EMBEDDER = "SELECT to_regclass('edgememory.embedder') IS NOT NULL"
_EMBEDDER = "SELECT model || ', ' || dimensions || ' dimensions' FROM edgememory.embedder"
_POSTPONE = "SELECT edgememory.postpone_extraction($1, $2, $3::text::uuid, $4, $5, $6, $7)::text"


class _Runs(Protocol):
    async def fetchval(self, query: str, /, *args: object) -> object: ...


class _CommittedDocument(Struct):
    entry: msgspec.Raw
    dropped: tuple[str, ...]
    refused: tuple[Refused, ...]


_COMMITTED = msgspec.json.Decoder(_CommittedDocument)
_HISTORY = msgspec.json.Decoder(tuple[Message, ...])
_AWAITING = msgspec.json.Decoder(tuple[Awaiting, ...])


class PostgresPrimary:
    """Memory in Postgres 16 or later, with the schema that `edgememory migrate` makes.

    Needs the extra `postgres`; asyncio only. Each call is one round trip on an open connection. A pool passed in is
    used as it is and never closed. With a dsn the store has connections of its own: at most *max_connections*, closed
    after *idle_close* seconds without use, or after one where the server is short of them. *pooler* does without named
    statements, for a dsn that leads to PgBouncer or Hyperdrive; it costs three round trips more.
    """

    def __init__(
        self,
        source: "str | asyncpg.Pool[asyncpg.Record]",
        *,
        max_connections: int = 2,
        idle_close: float = 60.0,
        pooler: bool = False,
    ) -> None:
        self._own: Connections | None = None
        if isinstance(source, str):
            connect = partial(open_line, source, read=GET, pooler=pooler)
            self._own = Connections(connect, most=max_connections, idle_close=idle_close, asks=not pooler)
            self._runs: _Runs = self._own
        else:
            self._runs = source

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        return entry_of(await self._run("get", GET, user))

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        return _committed(await self._run("commit", _COMMIT, user, msgspec.json.encode(changes).decode()))

    async def delete(self, user: UserKey) -> Entry:
        return entry_of(await self._run("delete", _DELETE, user))

    async def get_messages(
        self, user: UserKey, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        check_page(session_id, cursor, limit)
        # One more than asked for tells whether there is a next page.
        raw = await self._run("get_messages", _GET_MESSAGES, user, session_id, cursor, limit + 1)
        return page(_HISTORY.decode(raw), limit)

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        document = query_document(query, limit)
        if query.vector is None:
            return candidates_of(await self._run("search", SEARCH, user, document))
        return near_of(await self._run("search", SEARCH_NEAR, user, document, vector_text(query.vector)))

    async def check_embedder(self, model: str, dimensions: int) -> None:
        with postgres_errors("check_embedder"):
            is_there = await self._runs.fetchval(_HAS_EMBEDDER)
            made_of = await self._runs.fetchval(_EMBEDDER) if is_there else None
        if made_of != f"{model}, {dimensions} dimensions":
            there = "no vectors" if made_of is None else f"vectors of {made_of}"
            raise ConfigError(
                f"the embedder makes vectors of {model}, {dimensions} dimensions, and the origin has {there}.\n"
                "  Run `edgememory reembed`, or configure the embedder that they were made by."
            )

    async def claim_extractions(self, namespace: str, *, lease: float, limit: int) -> Sequence[Awaiting]:
        with postgres_errors("claim_extractions"):
            return _AWAITING.decode(cast(str, await self._runs.fetchval(_CLAIM, namespace, lease, limit)))

    async def finish_extraction(self, awaiting: Awaiting, changes: Sequence[Change]) -> Committed | None:
        user, document = awaiting.user, msgspec.json.encode(changes).decode()
        with postgres_errors("finish_extraction"):
            raw = await self._runs.fetchval(_FINISH, user.namespace, user.user_id, awaiting.id, document)
        return None if raw is None else _committed(cast(str, raw))

    async def postpone_extraction(
        self, awaiting: Awaiting, *, seconds: float, error: str, gives_up: bool = False
    ) -> None:
        given = awaiting.id, awaiting.tries, seconds, error, gives_up
        await self._run("postpone_extraction", _POSTPONE, awaiting.user, *given)

    async def warm(self) -> None:
        """Open one connection ahead, unless there is one. A pool passed in is its owner's to warm."""
        if self._own is not None:
            with postgres_errors("warm"):
                await self._own.warm()

    async def aclose(self) -> None:
        if self._own is not None:
            await self._own.aclose()

    async def _run(self, operation: str, statement: str, user: UserKey, *arguments: object) -> str:
        with postgres_errors(operation):
            return cast(str, await self._runs.fetchval(statement, user.namespace, user.user_id, *arguments))


def _committed(raw: str) -> Committed:
    document = _COMMITTED.decode(raw)
    return Committed(entry=entry_of(bytes(document.entry)), dropped=document.dropped, refused=document.refused)


if TYPE_CHECKING:
    _: type[OriginStore] = PostgresPrimary
