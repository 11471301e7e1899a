"""Which texts have vectors of which model, and filling in those that have none."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from importlib.resources import files

import asyncpg

from edgememory.errors import StoreBlockedError, StoreRejectedError
from edgememory.recall.embedder import Embedder, Vector
from edgememory.recall.vectors import quantised
from edgememory.stores.postgres.documents import vector_text
from edgememory.stores.postgres.errors import postgres_errors
from edgememory.stores.postgres.line import connected

_log = logging.getLogger("edgememory")

BATCH = 32
"""Texts at a time: decoding the vectors of 128 long ones would hold up the loop for 30 ms."""
TEXT_CHARACTERS = 8192
MOST_DIMENSIONS = 4000
"""What HNSW takes of pgvector's `halfvec`. Said before each text was embedded, and paid for."""
_PLAIN_TEXT = "Hello"
"""What every embedder takes that takes anything."""

_STORE = "embeddings"
_SCHEMA = """
    SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'
"""
_MADE_OF = "SELECT model || ', ' || dimensions || ' dimensions' FROM edgememory.embedder"
_WAITING = """
    SELECT count(*) FROM edgememory.embeddings WHERE model IS NULL OR model < $1 OR model > $1
"""
_BATCH = """
    SELECT e.namespace, e.user_id, e.id, e.made, left(coalesce(m.text, s.text, f.text), $3) AS text
    FROM (
        SELECT namespace, user_id, id, xmin::text AS made FROM edgememory.embeddings
        WHERE model IS NULL OR model < $1 OR model > $1 LIMIT $2
    ) e
    LEFT JOIN edgememory.messages m USING (namespace, user_id, id)
    LEFT JOIN edgememory.summaries s USING (namespace, user_id, id)
    LEFT JOIN edgememory.facts f USING (namespace, user_id, id)
"""
_KEEP = """
    UPDATE edgememory.embeddings e SET model = $1, vector = given.vector::{schema}.halfvec, small = given.small
    FROM unnest($2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::bytea[])
        AS given(namespace, user_id, id, made, vector, small)
    WHERE (e.namespace, e.user_id, e.id) = (given.namespace, given.user_id, given.id) AND e.xmin::text = given.made
"""
"""Whoever edits a text makes its row anew, by another transaction: that one waits still."""
_IS_BROKEN = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"


class Embeddings:
    """One connection that fills in vectors. Any number may do so at once: then some texts are embedded twice."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", embedder: Embedder) -> None:
        self._connection = connection
        self._embedder = embedder
        self._schema = ""

    async def prepare(self) -> None:
        """Make what vectors of this embedder need, and let everything wait for it that has none of it.

        Raises:
            StoreBlockedError: the server has no pgvector 0.8, the role may not make what is needed, or no index holds
                vectors of this length.
        """
        model, dimensions = self._embedder.model, self._embedder.dimensions
        if dimensions > MOST_DIMENSIONS:
            message = f"pgvector indexes vectors of {MOST_DIMENSIONS} numbers at most, and those of {model} have"
            message += f" {dimensions}: take another model, or one that can be asked for fewer"
            raise StoreBlockedError(message, store=_STORE, operation="prepare")
        with postgres_errors("prepare", store=_STORE):
            await self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            schema = await self._find_schema()
            sql = (files("edgememory.stores.postgres") / "vectors.sql").read_text("utf-8")
            for name, value in (("schema", schema), ("model", _literal(model)), ("dimensions", str(dimensions))):
                sql = sql.replace(f"{{{name}}}", value)
            async with self._connection.transaction():
                await self._connection.execute(sql)

    async def waiting(self) -> int:
        """Count the texts without a vector of this embedder's model."""
        with postgres_errors("waiting", store=_STORE):
            return int(await self._connection.fetchval(_WAITING, self._embedder.model))

    async def fill(self) -> int:
        """Embed some of them, and say how many: 0 if none waits.

        A text that the embedder rejects, where it takes others, waits no longer, and is found by its words.

        Raises:
            StoreBlockedError: the database has its vectors of another model by now.
            StoreError: the embedder or the database fails, or the embedder takes no text at all. What was filled in
                stays.
        """
        model = self._embedder.model
        with postgres_errors("fill", store=_STORE):
            schema = self._schema or await self._find_schema()
            await self._check_model()
            rows = await self._connection.fetch(_BATCH, model, BATCH, TEXT_CHARACTERS)
        texts = [row["text"] for row in rows]
        found = iter(await self._embedded([text for text in texts if text is not None]))
        each = [None if text is None else next(found) for text in texts]
        written = [None if vector is None else vector_text(vector) for vector in each]
        # Snapshots carry those that a session can compare a query with, without asking anybody.
        small = [None if vector is None or not self._embedder.local else quantised(vector) for vector in each]
        columns = [[row[name] for row in rows] for name in ("namespace", "user_id", "id", "made")]
        with postgres_errors("fill", store=_STORE):
            await self._connection.execute(_KEEP.replace("{schema}", schema), model, *columns, written, small)
        return len(rows)

    async def _check_model(self) -> None:
        """A process that has run since before another model came would undo what `reembed` has done."""
        made_of = await self._connection.fetchval(_MADE_OF)
        if made_of != (ours := f"{self._embedder.model}, {self._embedder.dimensions} dimensions"):
            message = f"the origin has vectors of {made_of}, and the embedder makes those of {ours}: run"
            message += " `edgememory reembed`, or restart with the configuration that it was last run with"
            raise StoreBlockedError(message, store=_STORE, operation="fill")

    async def _embedded(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """Embed them together, and where one is rejected each by itself."""
        try:
            return await self._embedder.embed(texts)
        except StoreRejectedError as error:
            if len(texts) == 1:
                await self._embedder.embed([_PLAIN_TEXT])  # or all texts would be left without, for good
                _log.warning("a text stays without a vector: %s", error)
                return [None]
        return [vector for text in texts for vector in await self._embedded([text])]

    async def index(self) -> None:
        """Build the index of the current model, which takes its time, and drop those of others."""
        model, dimensions = self._embedder.model, self._embedder.dimensions
        name = f"embeddings_near_{sha256(f'{model} {dimensions}'.encode()).hexdigest()[:12]}"
        with postgres_errors("index", store=_STORE):
            schema = self._schema or await self._find_schema()
            # One whose building broke off stands there all the same, and no search uses it.
            if await self._connection.fetchval(_IS_BROKEN, f"edgememory.{name}"):
                await self._connection.execute(f"DROP INDEX CONCURRENTLY edgememory.{name}")
            await self._connection.execute(
                f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON edgememory.embeddings"
                f" USING hnsw ((vector::{schema}.halfvec({dimensions})) {schema}.halfvec_cosine_ops)"
                f" WHERE model = {_literal(model)}"
            )
            others = await self._connection.fetch(
                "SELECT indexname FROM pg_indexes WHERE schemaname = 'edgememory'"
                " AND starts_with(indexname, 'embeddings_near_') AND indexname <> $1",
                name,
            )
            for other in others:
                await self._connection.execute(f"DROP INDEX CONCURRENTLY edgememory.{other['indexname']}")

    async def _find_schema(self) -> str:
        found = await self._connection.fetchval(_SCHEMA)
        if found is None:
            raise StoreBlockedError("pgvector is not there: run `edgememory reembed`", store=_STORE, operation="fill")
        self._schema = str(found)
        return self._schema


@asynccontextmanager
async def open_embeddings(dsn: str, embedder: Embedder) -> AsyncGenerator[Embeddings]:
    """Connect to the origin for filling in vectors."""
    with postgres_errors("connect", store=_STORE):
        connection = await connected(dsn)
    try:
        yield Embeddings(connection, embedder)
    except BaseException:
        connection.terminate()  # the network may be gone: nobody would answer a farewell
        raise
    with suppress(OSError):  # a timeout is one
        await connection.close(timeout=5)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
