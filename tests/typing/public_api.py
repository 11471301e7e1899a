"""The types of the public API, as a user's type checker sees them. Checked by mypy and pyright, never run.

An ignored error is one that must be there: mypy reports an ignore that ignores nothing.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, assert_type

from edgememory import (
    ConfigError,
    DeliveryPolicy,
    EdgeMemory,
    EdgeMemoryError,
    Entry,
    Fact,
    InvalidInputError,
    Message,
    Page,
    Parts,
    Policy,
    Preference,
    Read,
    Receipt,
    Session,
    Snapshot,
    StoreError,
    StoreUnavailableError,
    Summary,
    Tier,
    TieredStore,
    UserKey,
)
from edgememory.extract.extractor import Extractor
from edgememory.extract.rules import RuleExtractor
from edgememory.outbox.memory import MemoryOutbox
from edgememory.recall.query import Filters, Match
from edgememory.store import CacheStore, MemoryStore, OriginStore, Outbox
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin


def made_in_every_way(path: Path) -> None:
    assert_type(EdgeMemory.from_config("edgememory.toml"), EdgeMemory)
    assert_type(EdgeMemory.from_config(path, region="sfo"), EdgeMemory)
    assert_type(EdgeMemory.from_env(), EdgeMemory)
    assert_type(EdgeMemory.embedded(path), EdgeMemory)
    assert_type(EdgeMemory.in_memory(), EdgeMemory)


def made_of_parts() -> EdgeMemory:
    origin: OriginStore = InMemoryOrigin()
    cache: CacheStore = InMemoryStore()
    outbox: Outbox = MemoryOutbox()
    parts = Parts(
        origin=Tier(name="origin", store=origin, timeout=1.0),
        outbox=outbox,
        caches=[Tier(name="edge", store=cache, timeout=0.05)],
    )

    async def assemble(stack: AsyncExitStack) -> Parts:
        return parts

    EdgeMemory(assemble)
    return EdgeMemory(parts, namespace="clinic", policy=Policy(ttl=60), delivery=DeliveryPolicy(lease=10))


async def a_call(memory: EdgeMemory) -> None:
    async with memory as opened:
        assert_type(opened, EdgeMemory)
    async with memory.session("user-42", session_id="call-1", agent_id="desk", at_least=7) as session:
        assert_type(session, Session)
        assert_type(session.session_id, str)
        assert_type(session.context(max_tokens=500), str)
        assert_type(session.context(count_tokens=len), str)
        assert_type(session.snapshot, Snapshot)
        assert_type(session.opened_with, Read)
        assert_type(session.degraded, bool)
        assert_type(session.durable, bool)
        assert_type(session.ended, bool)
        session.add_message("user", "hello", at=datetime.now(UTC), metadata={"channel": 1, "who": None})
        session.remember("Lives in Lisbon", importance=9, replaces="Lives in Bern")
        session.forget("Lives in Lisbon")
        session.set_preference("tone", "short")
        session.set_preference("volume", 0.5)
        session.set_preference("tone", None)
        session.set_name(None)
        session.add_summary("They said hello.")
        assert_type(await session.committed(), int)
        assert_type(await session.recall("where?", limit=3, deep=True, timeout=0.1), list[Match])


async def wrong_calls(memory: EdgeMemory, session: Session) -> None:
    memory.session(42)  # type: ignore[arg-type]
    memory.session("user-42", "call-1")  # type: ignore[call-arg]
    session.add_message("owner", "hello")  # type: ignore[arg-type]
    session.add_message("user", None)  # type: ignore[arg-type]
    session.set_preference("tone", ["short"])  # type: ignore[arg-type]
    session.remember("Lives in Lisbon", 9)  # type: ignore[call-arg]
    session.snapshot.name = "Anna"  # type: ignore[misc]
    session.durable = True  # type: ignore[misc]
    await memory.flush(5)  # type: ignore[call-arg]


async def looking_up(memory: EdgeMemory) -> None:
    assert_type(await memory.get_profile("user-42"), Snapshot)
    assert_type(await memory.search("user-42", "where?", limit=3, filters=Filters(kinds=("fact",))), list[Match])
    page = await memory.get_messages("user-42", limit=20, cursor=None)
    assert_type(page, Page[Message])
    assert_type(page.items, tuple[Message, ...])
    assert_type(page.cursor, str | None)
    assert_type((await memory.warm("user-42")).entry, Entry | None)
    receipt = await memory.delete_user("user-42")
    assert_type(receipt, Receipt)
    assert_type(receipt.dropped, int)
    assert_type([store.effective_by for store in receipt.stores], list[datetime | None])


def a_snapshot(snapshot: Snapshot) -> None:
    assert_type(snapshot.version, int)
    assert_type(snapshot.name, str | None)
    assert_type(snapshot.facts, tuple[Fact, ...])
    assert_type(snapshot.preferences, tuple[Preference, ...])
    assert_type(snapshot.preferences[0].value, str | int | float | bool | None)
    assert_type(snapshot.summaries, tuple[Summary, ...])
    assert_type(snapshot.messages, tuple[Message, ...])
    assert_type(snapshot.messages[0].metadata, dict[str, str | int | float | bool | None] | None)


async def reading(tiered: TieredStore) -> None:
    read = await tiered.read(UserKey("clinic", "user-42"), at_least=7, timeout=0.5)
    assert_type(read, Read)
    assert_type(read.snapshot, Snapshot)
    assert_type(read.status, Literal["fresh", "stale", "degraded"])


def errors(error: EdgeMemoryError) -> str:
    match error:
        case ConfigError() | InvalidInputError():
            as_value_error: ValueError = error
            return str(as_value_error)
        case StoreUnavailableError():
            as_store_error: StoreError = error
            return as_store_error.store + as_store_error.operation
        case _:
            return str(error)


class OwnCache:
    """What someone writes who brings a cache of their own."""

    cleared_after = 0.0

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        return None

    async def get_many(self, users: object) -> dict[UserKey, Entry]:
        return {}

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        return True

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


rules: Extractor = RuleExtractor()
own: CacheStore = OwnCache()
readable: MemoryStore = own
not_an_origin: OriginStore = OwnCache()  # type: ignore[assignment]


async def edge_memory_in_a_test(edge_memory: EdgeMemory) -> AsyncIterator[Session]:
    async with edge_memory.session("caller") as session:
        yield session
