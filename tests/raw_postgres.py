"""A database with the schema, and a look into it that goes past the store under test."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from operator import attrgetter
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import anyio
import asyncpg
import msgspec
import pytest

from edgememory.changes import Change
from edgememory.embedded import Version
from edgememory.models import Fact, Forgotten, Message, Preference, Snapshot, Summary, UserKey
from edgememory.stores.postgres import migrate
from tests.servers import PostgresOf

__all__ = ["migrated_database", "origin_dsn", "origin_dsn_of"]


@pytest.fixture(scope="session")
def origin_dsn_of(postgres_of: PostgresOf) -> Callable[[Version], str]:
    @cache
    def of(version: Version) -> str:
        dsn = postgres_of(version).create_database("origin")
        anyio.run(migrate, dsn)
        return dsn

    return of


@pytest.fixture
def origin_dsn(origin_dsn_of: Callable[[Version], str], postgres_version: Version) -> str:
    """One database with the schema for all tests that keep to users of their own."""
    return origin_dsn_of(postgres_version)


@pytest.fixture
def migrated_database(database: str) -> str:
    """A new database with the schema and nothing in it."""
    anyio.run(migrate, database)
    return database


@asynccontextmanager
async def raw_connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def raw_commit(raw: asyncpg.Connection, user: UserKey, changes: Sequence[Change]) -> None:
    document = msgspec.json.encode(changes).decode()
    await raw.execute("SELECT edgememory.commit($1, $2, $3)", user.namespace, user.user_id, document)


async def raw_delete(raw: asyncpg.Connection, user: UserKey) -> None:
    await raw.execute("SELECT edgememory.delete_user($1, $2)", user.namespace, user.user_id)


async def raw_state(raw: asyncpg.Connection, user: UserKey) -> Snapshot:
    """Return the user's full state, put together from the rows here, not by the functions under test."""

    async def rows(table: str) -> list[asyncpg.Record]:
        query = f"SELECT * FROM edgememory.{table} WHERE namespace = $1 AND user_id = $2"
        return await raw.fetch(query, user.namespace, user.user_id)

    (row,) = await rows("users")
    facts = await rows("facts")
    known = [
        Fact(
            key=f["key"],
            id=_id(f["id"]),
            text=f["text"],
            importance=f["importance"],
            used=_id(f["used"]),
            replaced=_replaced(f),
        )
        for f in facts
        if f["text"] is not None
    ]
    gone = [
        Forgotten(key=f["key"], id=_id(f["id"]), used=_id(f["used"]), replaced=_replaced(f))
        for f in facts
        if f["text"] is None
    ]
    preferences = [
        Preference(name=p["name"], id=_id(p["id"]), value=msgspec.json.decode(p["value"]))
        for p in await rows("preferences")
    ]
    summaries = [Summary(id=_id(s["id"]), session_id=s["session_id"], text=s["text"]) for s in await rows("summaries")]
    return Snapshot(
        version=row["version"],
        exists=row["exists"],
        erased_at=row["erased_at"],
        erased_time=row["erased_time"],
        last_id=_id(row["last_id"]),
        name=row["name"],
        name_id=_id(row["name_id"]),
        preferences=tuple(sorted(preferences, key=attrgetter("name"))),
        facts=tuple(
            sorted(
                (f for f in known if not f.replaced),
                key=lambda f: (f.importance, max(f.id, f.used), f.key),
                reverse=True,
            )
        ),
        former=tuple(
            sorted((f for f in known if f.replaced), key=lambda f: (max(f.id, f.replaced), f.key), reverse=True)
        ),
        forgotten=tuple(sorted(gone, key=lambda f: (max(f.id, f.replaced), f.key), reverse=True)),
        summaries=tuple(sorted(summaries, key=attrgetter("id"))),
        messages=tuple(sorted(map(_message, await rows("messages")), key=attrgetter("id"))),
    )


def _message(row: asyncpg.Record) -> Message:
    return Message(
        id=_id(row["id"]),
        session_id=row["session_id"],
        role=row["role"],
        text=row["text"],
        at=row["at"],
        interrupted=row["interrupted"],
        agent_id=row["agent_id"],
        metadata=None if row["metadata"] is None else msgspec.json.decode(row["metadata"]),
    )


def _replaced(row: asyncpg.Record) -> str:
    """Return what took the fact's place, unless it was said again after that."""
    return _id(row["replaced"]) if _id(row["replaced"]) > _id(row["id"]) else ""


def _id(value: UUID | None) -> str:
    return "" if value is None else str(value)


@asynccontextmanager
async def plain_role(raw: asyncpg.Connection, dsn: str) -> AsyncIterator[tuple[str, str]]:
    """Make a role without any right, and give its name and its dsn."""
    name = f"role_{uuid4().hex}"
    await raw.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    try:
        yield name, urlsplit(dsn)._replace(netloc=f"{name}:secret@{urlsplit(dsn).netloc.rpartition('@')[2]}").geturl()
    finally:
        await raw.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
