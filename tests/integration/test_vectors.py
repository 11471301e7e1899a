"""Texts found by what they mean, on real Postgres with pgvector."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import anyio.lowlevel
import asyncpg
import pytest
from msgspec.structs import replace

from edgememory import (
    ConfigError,
    EdgeMemory,
    Parts,
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
    Tier,
)
from edgememory.cli import work
from edgememory.models import UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.recall.embedder import Embedder, Vector
from edgememory.recall.query import Filters
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.stores.postgres import PostgresPrimary
from edgememory.stores.postgres.embeddings import Embeddings, open_embeddings
from edgememory.testing.embedder import HashEmbedder
from edgememory.testing.talk import Talk
from tests.proxy import proxy_to
from tests.raw_postgres import raw_connection
from tests.servers import each_postgres_version

__all__ = ["each_postgres_version"]

USER = UserKey("default", "caller")
AT = datetime(2019, 1, 1, tzinfo=UTC)


class Meanings(HashEmbedder):
    """Knows that a dog is a pet, which no stemmer does."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return await super().embed([text.casefold().replace("dog", "pet") for text in texts])


@pytest.fixture
async def origin(migrated_database: str) -> AsyncIterator[PostgresPrimary]:
    primary = PostgresPrimary(migrated_database)
    yield primary
    await primary.aclose()


@pytest.fixture
async def embeddings(migrated_database: str) -> AsyncIterator[Embeddings]:
    async with open_embeddings(migrated_database, Meanings()) as embeddings:
        yield embeddings


def memory_of(origin: PostgresPrimary, embedder: Embedder) -> EdgeMemory:
    tier = Tier(name="origin", store=origin, timeout=5.0)
    return EdgeMemory(Parts(origin=tier, outbox=MemoryOutbox(), embedder=embedder))


async def fill(embeddings: Embeddings) -> int:
    filled = 0
    while done := await embeddings.fill():
        filled += done
    return filled


@pytest.mark.anyio
async def test_what_means_the_same_is_found(origin: PostgresPrimary, embeddings: Embeddings) -> None:
    talk = Talk()
    await embeddings.prepare()
    await origin.commit(USER, [talk.says("Rex is my dog"), talk.says("It rains"), talk.remembers("Has a dog")])
    async with memory_of(origin, Meanings()) as memory:
        assert await memory.search("caller", "pet") == [], "commit waits for no vector"
        assert await fill(embeddings) == 3
        first, second, *_ = await memory.search("caller", "pet")
        assert {first.text, second.text} == {"Rex is my dog", "Has a dog"}
        assert first.why.similarity is not None
        assert first.why.words == ()
        (fact,) = await memory.search("caller", "pet", filters=Filters(kinds=("fact",)))
        assert fact.text == "Has a dog"
        assert await memory.search("somebody else", "pet") == []
        async with memory.session("caller") as session:
            matches = await session.recall("pet", deep=True, timeout=5)
            assert "Rex is my dog" in {match.text for match in matches}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(kinds=("fact",)), {"Has a dog who eats a lot"}),
        (Filters(kinds=("fact",), former=True), {"Has a dog who eats a lot", "Has a dog"}),
        (Filters(kinds=("summary",), session_id="earlier"), {"About a dog, or two of them"}),
        (Filters(except_session_id="now"), {"About a dog, or two of them", "Has a dog who eats a lot"}),
        (Filters(role="assistant"), {"What a nice dog that is, is it not"}),
        (Filters(agent_id="desk"), {"What a nice dog that is, is it not"}),
        (Filters(metadata={"channel": 1}), {"What a nice dog that is, is it not"}),
        (Filters(before=datetime(2020, 1, 1, tzinfo=UTC)), {"What a nice dog that is, is it not"}),
        (Filters(kinds=("message",), session_id="never"), set[str]()),
    ],
)
async def test_the_nearest_are_of_those_that_filters_allow(
    origin: PostgresPrimary, embeddings: Embeddings, filters: Filters, expected: set[str]
) -> None:
    now, earlier = Talk("now"), Talk("earlier")
    await embeddings.prepare()
    nearer = [now.says(f"My dog {number}") for number in range(60)]
    odd = now.says("What a nice dog that is, is it not", role="assistant", at=AT, metadata={"channel": 1})
    others = [replace(odd, agent_id="desk"), earlier.sums_up("About a dog, or two of them")]
    facts = [earlier.remembers("Has a dog"), earlier.remembers("Has a dog who eats a lot", replaces="Has a dog")]
    await origin.commit(USER, [*nearer, *others, *facts])
    await fill(embeddings)
    async with memory_of(origin, Meanings()) as memory:
        assert {match.text for match in await memory.search("caller", "pet", filters=filters)} == expected


@pytest.mark.anyio
async def test_what_was_there_before_is_filled_in_too(origin: PostgresPrimary, embeddings: Embeddings) -> None:
    await origin.commit(USER, [Talk().says(f"Message {number}") for number in range(70)])
    await embeddings.prepare()
    assert await embeddings.waiting() == 70
    assert await embeddings.fill() < 70
    await embeddings.prepare()  # interrupted, and run again
    await fill(embeddings)
    assert await embeddings.waiting() == 0
    await embeddings.index()
    await embeddings.index()


@pytest.mark.anyio
async def test_vectors_that_no_index_can_hold_are_refused_before_any_is_made(migrated_database: str) -> None:
    async with open_embeddings(migrated_database, HashEmbedder(4001)) as longer:
        with pytest.raises(StoreBlockedError, match=r"4000 numbers at most, and those of hash-4001 have 4001"):
            await longer.prepare()
    async with open_embeddings(migrated_database, HashEmbedder(4000)) as longest:
        await longest.prepare()
        await longest.index()


@pytest.mark.anyio
async def test_an_index_whose_building_broke_off_is_built_anew(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog")])
    await fill(embeddings)
    async with raw_connection(migrated_database) as raw:
        whole = await raw.fetchval("SELECT vector::text FROM edgememory.embeddings")
        await raw.execute("UPDATE edgememory.embeddings SET vector = '[1]'")
        with pytest.raises(StoreRejectedError, match="dimensions"):
            await embeddings.index()
        await raw.execute("UPDATE edgememory.embeddings SET vector = $1::text::halfvec", whole)
        await embeddings.index()
        assert await raw.fetch(_INDEXES) == [(True,)]


_INDEXES = "SELECT indisvalid FROM pg_index WHERE starts_with(indexrelid::regclass::text, 'edgememory.embeddings_near')"


@pytest.mark.anyio
async def test_what_is_gone_has_no_vector(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str
) -> None:
    talk = Talk(base=0)
    await embeddings.prepare()
    await origin.commit(USER, [talk.says("Rex is my dog"), talk.remembers("Has a dog"), talk.remembers("Has a cat")])
    await fill(embeddings)
    await origin.commit(USER, [talk.forgets("Has a dog"), talk.remembers("Has a cat"), talk.uses("Has a cat")])
    async with raw_connection(migrated_database) as raw:
        assert await _count(raw) == 2, "the cat's, said again, waits anew"
        await fill(embeddings)
        await origin.delete(USER)
        assert await _count(raw) == 0


async def _count(raw: asyncpg.Connection) -> int:
    return int(await raw.fetchval("SELECT count(*) FROM edgememory.embeddings"))


@pytest.mark.anyio
async def test_vectors_of_two_models_are_never_compared(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog"), Talk().says("My dog barks")])
    await fill(embeddings)
    await embeddings.index()
    async with open_embeddings(migrated_database, HashEmbedder(32)) as other:
        await other.prepare()
        assert await other.waiting() == 2
        async with memory_of(origin, HashEmbedder(32)) as memory:
            assert await memory.search("caller", "pet") == []
            await fill(other)
            await other.index()
            assert len(await memory.search("caller", "rex")) == 2
    async with raw_connection(migrated_database) as raw:
        indexes = await raw.fetch("SELECT FROM pg_indexes WHERE indexname LIKE 'embeddings_near%'")
        assert len(indexes) == 1


@pytest.mark.anyio
async def test_the_same_model_at_another_length_is_another(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str
) -> None:
    async with open_embeddings(migrated_database, Renamed(32)) as former:
        await former.prepare()
        await origin.commit(USER, [Talk().says("Rex is my dog"), Talk().says("My dog barks")])
        await fill(former)
        await former.index()
    async with memory_of(origin, Renamed(32)) as agent, open_embeddings(migrated_database, Renamed(64)) as longer:
        await longer.prepare()
        assert await longer.waiting() == 2
        await fill(longer)
        await longer.index()
        assert await agent.search("caller", "pet") == [], "whose agent has the former length finds by words"
        assert [match.text for match in await agent.search("caller", "rex", limit=1)] == ["Rex is my dog"]
        async with memory_of(origin, Renamed(64)) as memory:
            assert len(await memory.search("caller", "pet")) == 2


@pytest.mark.anyio
@pytest.mark.parametrize("dimensions", [32, 64])
async def test_whoever_has_the_former_model_leaves_the_vectors_alone(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str, dimensions: int
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog")])
    await fill(embeddings)
    async with open_embeddings(migrated_database, Renamed(dimensions)) as other:
        await other.prepare()
        await fill(other)
        with pytest.raises(StoreBlockedError, match=rf"of another, {dimensions} dimensions.*reembed"):
            await embeddings.fill()
        assert await other.waiting() == 0


@pytest.mark.anyio
@pytest.mark.parametrize("dimensions", [32, 64])
async def test_where_the_model_is_another_meanwhile_words_do(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str, dimensions: int
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog")])
    async with memory_of(origin, Meanings()) as memory:
        async with open_embeddings(migrated_database, Renamed(dimensions)) as other:
            await other.prepare()
            await fill(other)
        (match,) = await memory.search("caller", "dogs")
        assert match.why.similarity is None
        assert await memory.search("caller", "pet") == []
        async with memory.session("caller") as session:
            assert [match.text for match in await session.recall("dogs", deep=True, timeout=5)] == ["Rex is my dog"]


class Choosy(Meanings):
    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        if "Never" in texts:
            raise StoreRejectedError("no", store="embedder", operation="embed")
        return await super().embed(texts)


@pytest.mark.anyio
async def test_a_text_that_is_rejected_keeps_no_other_from_its_vector(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str
) -> None:
    await embeddings.prepare()
    talk = Talk()
    await origin.commit(USER, [talk.says("Rex is my dog"), talk.says("Never"), talk.says("My dog barks")])
    async with open_embeddings(migrated_database, Choosy()) as choosy:
        assert await fill(choosy) == 3
    async with memory_of(origin, Choosy()) as memory:
        found = [match.text for match in await memory.search("caller", "pet")]
        assert sorted(found) == ["My dog barks", "Rex is my dog"]
        found = [match.text for match in await memory.search("caller", "never") if match.why.similarity is None]
        assert found == ["Never"]


class Refusing(Meanings):
    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        raise StoreRejectedError("no such parameter", store="embedder", operation="embed")


@pytest.mark.anyio
async def test_an_embedder_that_takes_no_text_at_all_leaves_them_waiting(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog")])
    async with open_embeddings(migrated_database, Refusing()) as refusing:
        with pytest.raises(StoreRejectedError, match="no such parameter"):
            await refusing.fill()
    assert await embeddings.waiting() == 1


@pytest.mark.anyio
async def test_an_embedder_that_does_not_fit_is_refused_at_the_start(
    embeddings: Embeddings, migrated_database: str
) -> None:
    with pytest.raises(ConfigError, match=r"the origin has no vectors"):
        await memory_of(PostgresPrimary(migrated_database), Meanings()).open()
    await embeddings.prepare()
    with pytest.raises(ConfigError, match="hash-32, 32 dimensions, and the origin has vectors of hash-64, 64"):
        await memory_of(PostgresPrimary(migrated_database), HashEmbedder(32)).open()


class Overtaken(Meanings):
    """Has somebody edit the text while it is embedded, once."""

    def __init__(self, raw: asyncpg.Connection) -> None:
        super().__init__()
        self._raw = raw

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        if "Rex is my dog" in texts:
            await self._raw.execute("UPDATE edgememory.messages SET text = 'It rains'")
        return await super().embed(texts)


@pytest.mark.anyio
async def test_a_text_that_is_edited_while_it_is_embedded_keeps_no_vector_of_what_it_was(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog")])
    async with (
        raw_connection(migrated_database) as raw,
        open_embeddings(migrated_database, Overtaken(raw)) as overtaken,
    ):
        await fill(overtaken)
    async with memory_of(origin, Meanings()) as memory:
        (match,) = await memory.search("caller", "It rains")
        assert match.why.similarity == pytest.approx(1, abs=0.01)


class Buggy(Meanings):
    """Fails at first as no embedder may."""

    tries = 0

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.tries += 1
        if self.tries == 1:
            raise ValueError("a bug")
        return await super().embed(texts)


@pytest.mark.anyio
async def test_a_worker_outlives_an_embedder_that_fails_as_none_may(
    origin: PostgresPrimary, embeddings: Embeddings, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "LOOK_EVERY", 0)
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog")])
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(work.fill_in, migrated_database, Buggy())
            while await embeddings.waiting():
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()


class Broken(Meanings):
    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        raise StoreUnavailableError("away", store="embedder", operation="embed")


@pytest.mark.anyio
async def test_a_network_that_is_gone_is_no_more_than_that(embeddings: Embeddings, migrated_database: str) -> None:
    await embeddings.prepare()
    async with proxy_to(int(migrated_database.rpartition(":")[2].partition("/")[0])) as proxy:

        async def fail_without_network() -> None:
            async with open_embeddings(proxy.dsn(migrated_database), Broken()):
                proxy.open.clear()
                await Broken().embed(["Rex is my dog"])

        with pytest.raises(StoreUnavailableError, match="away"):
            await fail_without_network()


class Wordless(Meanings):
    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return [[0.0] * self.dimensions for _ in texts]


@pytest.mark.anyio
@pytest.mark.parametrize("embedder", [Broken(), Wordless()])
async def test_without_a_vector_words_do(
    origin: PostgresPrimary, embeddings: Embeddings, embedder: Embedder, migrated_database: str
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().says("Rex is my dog")])
    if isinstance(embedder, Wordless):
        async with open_embeddings(migrated_database, embedder) as wordless:
            assert await fill(wordless) == 1
    async with memory_of(origin, embedder) as memory:
        assert [match.text for match in await memory.search("caller", "dogs")] == ["Rex is my dog"]
        assert await memory.search("caller", "pet") == []


@pytest.mark.anyio
async def test_a_snapshot_carries_what_finds_by_meaning_without_asking_anybody(
    origin: PostgresPrimary, embeddings: Embeddings
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().remembers("Has a dog"), Talk().remembers("Likes opera")])
    assert (await origin.get(USER)).vectors is None
    await fill(embeddings)
    vectors = (await origin.get(USER)).vectors
    assert vectors is not None
    assert (vectors.model, {len(small) for small in vectors.of.values()}) == ("hash-64", {64})
    async with memory_of(origin, Meanings()) as memory, memory.session("caller", timeout=5) as session:
        await origin.aclose()  # from now on nobody could answer
        first, *_ = await session.recall("pet")
        assert first.text == "Has a dog"
        assert first.why.similarity is not None


class Renamed(Meanings):
    @property
    def model(self) -> str:
        return "another"


@pytest.mark.anyio
async def test_what_a_cache_has_of_another_model_is_not_compared(
    origin: PostgresPrimary, embeddings: Embeddings
) -> None:
    await embeddings.prepare()
    await origin.commit(USER, [Talk().remembers("Has a dog")])
    await fill(embeddings)
    entry = await origin.get(USER)
    for embedder, found in ((Renamed(), list[str]()), (Meanings(), ["Has a dog"])):
        cache = InMemoryStore()
        await cache.put(USER, entry, keep=3600)
        parts = Parts(
            origin=Tier(name="origin", store=InMemoryOrigin(), timeout=5.0),
            caches=[Tier(name="cache", store=cache, timeout=5.0)],
            outbox=MemoryOutbox(),
            embedder=embedder,
        )
        async with EdgeMemory(parts) as memory, memory.session("caller") as session:
            assert [match.text for match in await session.recall("pet")] == found


@pytest.mark.anyio
async def test_vectors_of_a_model_elsewhere_stay_at_the_origin(origin: PostgresPrimary, migrated_database: str) -> None:
    async with open_embeddings(migrated_database, Elsewhere()) as embeddings:
        await embeddings.prepare()
        await origin.commit(USER, [Talk().remembers("Has a dog")])
        await fill(embeddings)
    assert (await origin.get(USER)).vectors is None


class Elsewhere(Meanings):
    @property
    def local(self) -> bool:
        return False
