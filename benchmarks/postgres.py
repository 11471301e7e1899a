"""The origin, on a real server beside this process, which does not wait for its disk."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import cast

import asyncpg
import msgspec
from asyncpg.prepared_stmt import PreparedStatement
from msgspec import Struct

from benchmarks.measure import Result, awaited, compare
from benchmarks.people import a_call
from benchmarks.redis_store import Document
from edgememory.changes import Change
from edgememory.lab.people import people
from edgememory.lab.servers import postgres_server
from edgememory.models import UserKey
from edgememory.stores.postgres import PostgresPrimary, migrate

_NUMBER = 50
_PERSONS = 100


class Answer(Struct):
    """What a commit returns, as plain code would decode it."""

    entry: Document
    dropped: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Bare asyncpg: one connection, prepared statements that call the schema's functions, and msgspec's decoding."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    getting: "PreparedStatement[asyncpg.Record]"
    committing: "PreparedStatement[asyncpg.Record]"

    async def get(self, user: UserKey) -> Document:
        raw = cast(str, await self.getting.fetchval(user.namespace, user.user_id))
        return msgspec.json.decode(raw, type=Document)

    async def commit(self, user: UserKey, changes: list[Change]) -> Answer:
        body = msgspec.json.encode(changes).decode()
        raw = cast(str, await self.committing.fetchval(user.namespace, user.user_id, body))
        return msgspec.json.decode(raw, type=Answer)


@asynccontextmanager
async def origin() -> AsyncGenerator[tuple[PostgresPrimary, Plain, list[UserKey]]]:
    """Run a server that knows some people, and connect to it in both ways."""
    async with postgres_server() as server:
        await migrate(server.dsn)
        primary = PostgresPrimary(server.dsn)
        persons = people("caller", _PERSONS)
        for person in persons:
            await primary.commit(person.key, tuple(person.earlier_calls()))
        connection = await asyncpg.connect(server.dsn)
        plain = Plain(
            connection=connection,
            getting=await connection.prepare("SELECT edgememory.get($1, $2)::text"),
            committing=await connection.prepare("SELECT edgememory.commit($1, $2, $3::json)::text"),
        )
        try:
            yield primary, plain, [person.key for person in persons]
        finally:
            await connection.close()
            await primary.aclose()


async def measured() -> AsyncIterator[Result]:
    async with origin() as (primary, plain, users):
        ours, theirs = cycle(users), cycle(users)
        yield await compare(
            "PostgresPrimary.get, 3 KiB",
            awaited(lambda: primary.get(next(ours)), number=_NUMBER),
            awaited(lambda: plain.get(next(theirs)), number=_NUMBER),
            beside="asyncpg, the same SELECT, msgspec's decoding",
            unit="µs",
        )
        yield await compare(
            "PostgresPrimary.commit, 3 changes",
            awaited(lambda: primary.commit(next(ours), a_call()), number=_NUMBER),
            awaited(lambda: plain.commit(next(theirs), a_call()), number=_NUMBER),
            beside="asyncpg, the same function, msgspec's decoding",
            unit="µs",
        )
