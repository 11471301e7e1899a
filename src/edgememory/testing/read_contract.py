"""What every store that users are read from promises, whoever writes them. A backend's test is a fixture and hooks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from uuid import uuid4

import pytest
from anyio import create_task_group

from edgememory.apply import bound
from edgememory.changes import Change
from edgememory.limits import LIMITS
from edgememory.models import Entry, Preference, Scalar, Snapshot, UserKey
from edgememory.store import MemoryStore
from edgememory.testing.examples import AWKWARD_IDS
from edgememory.testing.talk import Talk


class ReadContract(ABC):
    """Subclass it, with a fixture `store` and the hooks. Tests make their own users: databases may be shared."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    async def raw_commit(self, user: UserKey, changes: Sequence[Change]) -> None:
        """Commit without the store under test, and return when that can read it."""

    @abstractmethod
    async def raw_delete(self, user: UserKey) -> None:
        """Delete the user without the store under test, and return when that can read it."""

    @abstractmethod
    async def raw_state(self, user: UserKey) -> Snapshot:
        """Return the user's full state, unbounded, read row by row and without the store under test."""

    @pytest.fixture
    def user(self) -> UserKey:
        return UserKey("contract", uuid4().hex)

    async def test_an_absent_user_is_an_entry(self, store: MemoryStore, user: UserKey) -> None:
        entry = await read(store, user)
        version = entry.snapshot.version
        assert entry.snapshot == Snapshot(version=version, exists=False)
        assert version % 2**32 == 0
        assert entry.synced_at > 0
        assert entry.tentative_at == 0

    async def test_what_was_committed_is_read(self, store: MemoryStore, user: UserKey) -> None:
        absent = await read(store, user)
        await self.raw_commit(user, everything())
        entry = await read(store, user)
        assert entry.snapshot == bound(await self.raw_state(user))
        assert entry.snapshot.version == absent.snapshot.version + 1
        assert entry.snapshot.exists
        assert entry.synced_at >= absent.synced_at

    async def test_values_are_read_as_they_were_written(self, store: MemoryStore, user: UserKey) -> None:
        values: list[Scalar] = ["", 'a "quoted" \\ value\n\u2028🙂', 0, -1, 2**53 + 1, -(2**63), 1.0, 0.1, 1e300]
        values += [True, False, None]
        changes = [Talk().prefers(f"p{place:02}", value) for place, value in enumerate(values)]
        await self.raw_commit(user, changes)
        found = (await read(store, user)).snapshot.preferences
        assert found == tuple(Preference(name=change.name, id=change.id, value=change.value) for change in changes)
        assert [type(preference.value) for preference in found] == [type(value) for value in values]

    async def test_users_are_told_apart_byte_for_byte(self, store: MemoryStore) -> None:
        namespace = uuid4().hex
        users = [UserKey(space, id) for space in (namespace, namespace[:-1]) for id in AWKWARD_IDS]
        for user in users:
            await self.raw_commit(user, [Talk().is_called(f"{user.namespace} {user.user_id[-100:]}")])
        for user in users:
            snapshot = (await read(store, user)).snapshot
            assert snapshot.name == f"{user.namespace} {user.user_id[-100:]}"
            assert snapshot.version % 2**32 == 1
        assert not (await read(store, UserKey(namespace, "FOO"))).snapshot.exists
        assert not (await read(store, UserKey(namespace.upper() + "x", "foo"))).snapshot.exists

    async def test_a_snapshot_holds_the_newest_and_best_of_each(self, store: MemoryStore, user: UserKey) -> None:
        talk = Talk()
        places = range(70)
        messages = [talk.says(f"message {place}") for place in places]
        summaries = [talk.sums_up(f"summary {place}") for place in places]
        facts = [talk.remembers(f"fact {place}", importance=place % 3) for place in places]
        gone = [talk.forgets(f"gone {place}") for place in places]
        used = talk.uses("fact 0")
        await self.raw_commit(user, [*messages, *summaries, *facts, used, *gone])
        snapshot = (await read(store, user)).snapshot
        assert [m.text for m in snapshot.messages] == [m.text for m in messages[-LIMITS.messages :]]
        assert [s.text for s in snapshot.summaries] == [s.text for s in summaries[-LIMITS.summaries :]]
        said_or_used = {fact.id: fact.id for fact in facts} | {facts[0].id: used.id}
        best = sorted(facts, key=lambda fact: (fact.importance, said_or_used[fact.id]), reverse=True)
        assert [f.text for f in snapshot.facts] == [f.text for f in best[: LIMITS.facts]]
        assert [f.key for f in snapshot.forgotten] == [f.key for f in gone[: -LIMITS.forgotten - 1 : -1]]
        assert snapshot.last_id == used.id

    async def test_of_too_many_preferences_the_newest_are_read_by_name(self, store: MemoryStore, user: UserKey) -> None:
        talk = Talk()
        changes = [talk.prefers(f"{place % 7}-{place}", place) for place in range(LIMITS.preferences + 9)]
        await self.raw_commit(user, changes)
        snapshot = (await read(store, user)).snapshot
        assert [p.name for p in snapshot.preferences] == sorted(change.name for change in changes[9:])

    async def test_a_long_message_is_cut_and_metadata_left_out(self, store: MemoryStore, user: UserKey) -> None:
        text = "é" * LIMITS.message_in_snapshot
        await self.raw_commit(user, [Talk().says("x" + text, metadata={"a": 1})])
        (message,) = (await read(store, user)).snapshot.messages
        assert message.text == "x" + text[: LIMITS.message_in_snapshot // 2 - 1]
        assert message.metadata is None

    async def test_what_is_large_is_bounded_in_bytes(self, store: MemoryStore, user: UserKey) -> None:
        changes = [Talk().says(f"{place}" + "x" * 8000) for place in range(10)]
        await self.raw_commit(user, [*changes, Talk().remembers("Lives in Lisbon")])
        snapshot = (await read(store, user)).snapshot
        assert 5 < len(snapshot.messages) < 10
        assert snapshot.messages[-1].text == changes[-1].text
        assert [fact.text for fact in snapshot.facts] == ["Lives in Lisbon"]

    async def test_a_deleted_user_is_a_tombstone(self, store: MemoryStore, user: UserKey) -> None:
        await self.raw_commit(user, everything())
        before = await read(store, user)
        await self.raw_delete(user)
        entry = await read(store, user)
        version = before.snapshot.version + 1
        assert entry.snapshot == Snapshot(
            version=version, exists=False, erased_at=version, erased_time=entry.snapshot.erased_time
        )
        assert entry.snapshot.erased_time > before.synced_at - 60
        assert entry.order > before.order

    async def test_reading_changes_nothing(self, store: MemoryStore, user: UserKey) -> None:
        await self.raw_commit(user, everything())
        before = await self.raw_state(user)
        entries = [await read(store, user) for _ in range(3)]
        assert await self.raw_state(user) == before
        assert {entry.snapshot.version for entry in entries} == {before.version}

    async def test_many_read_at_once(self, store: MemoryStore) -> None:
        users = [UserKey("contract", uuid4().hex) for _ in range(20)]
        found: dict[UserKey, str | None] = {}

        async def look(user: UserKey) -> None:
            found[user] = (await read(store, user)).snapshot.name

        for user in users:
            await self.raw_commit(user, [Talk().is_called(user.user_id)])
        async with create_task_group() as group:
            for user in users * 3:
                group.start_soon(look, user)
        assert found == {user: user.user_id for user in users}


async def read(store: MemoryStore, user: UserKey) -> Entry:
    entry = await store.get(user)
    assert entry is not None, "an origin or a replica always answers"
    return entry


def everything() -> list[Change]:
    """Return changes of every kind, within the limits of a snapshot."""
    talk = Talk()
    return [
        talk.says("hello", metadata={"confidence": 0.93, "channel": "phone", "final": True, "gap": None}),
        talk.says('line\nbreak\ttab \\ / " \u2028 🙂', role="assistant", interrupted=True, agent_id="a-1"),
        talk.remembers("Has a dog", importance=3),
        talk.remembers("Lives in Geneva", importance=7),
        talk.remembers("Lives in Lisbon", importance=7, replaces="Lives in Geneva"),
        talk.forgets("Smokes"),
        talk.uses("Has a dog", "Plays chess"),
        talk.prefers("language", "pt"),
        talk.prefers("Language", None),
        talk.prefers("speed", 1.5),
        talk.is_called("Zoë"),
        talk.sums_up("They moved."),
    ]
