"""What every `OriginStore` promises. A backend's test is a fixture and a few hooks."""

import random
from abc import abstractmethod
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import msgspec
import pytest
from anyio import create_task_group
from msgspec.structs import replace

from edgememory.apply import apply
from edgememory.changes import Change
from edgememory.ids import next_id
from edgememory.limits import LIMITS
from edgememory.models import Committed, Entry, Snapshot, UserKey
from edgememory.store import OriginStore
from edgememory.testing.extraction_contract import ExtractionContract
from edgememory.testing.history_contract import HistoryContract
from edgememory.testing.read_contract import ReadContract, everything
from edgememory.testing.refused import REFUSED
from edgememory.testing.search_contract import SearchContract
from edgememory.testing.talk import Talk

_talk = Talk()


class OriginContract(HistoryContract, SearchContract, ExtractionContract, ReadContract):
    """Subclass it, with a fixture `store` and the hooks. Tests make their own users: databases may be shared."""

    @abstractmethod
    async def raw_restored(self) -> None:
        """Tell the database, without the store under test, that it was restored from a backup."""

    async def test_what_was_committed_is_in_the_database(self, store: OriginStore, user: UserKey) -> None:
        absent = (await store.get(user)).snapshot
        changes = everything()
        committed = await store.commit(user, changes)
        expected = replace(apply(absent, changes), version=absent.version + 1)
        assert await self.raw_state(user) == expected
        assert (committed.dropped, committed.refused) == ((), ())
        assert committed.entry.snapshot == (await store.get(user)).snapshot

    async def test_every_commit_adds_one_to_the_version(self, store: OriginStore, user: UserKey) -> None:
        version = (await store.get(user)).snapshot.version
        for changes in ([_talk.says("hello")], [], [REFUSED["an unknown role"]], [_talk.says("hello")]):
            committed = await store.commit(user, changes)
            version += 1
            assert committed.entry.snapshot.version == version
            assert (await self.raw_state(user)).version == version

    async def test_an_empty_commit_makes_no_user(self, store: OriginStore, user: UserKey) -> None:
        committed = await store.commit(user, [])
        assert not committed.entry.snapshot.exists
        assert not (await store.get(user)).snapshot.exists

    async def test_a_commit_may_be_repeated(self, store: OriginStore, user: UserKey) -> None:
        changes = everything()
        once = await store.commit(user, changes)
        state = await self.raw_state(user)
        again = await store.commit(user, [*changes, *changes])
        assert again.entry.snapshot == replace(once.entry.snapshot, version=once.entry.snapshot.version + 1)
        assert await self.raw_state(user) == replace(state, version=state.version + 1)

    async def test_changes_commute(self, store: OriginStore) -> None:
        talk = Talk()
        changes = [*everything(), talk.remembers("Has a dog"), talk.forgets("Has a dog"), talk.uses("Lives in Lisbon")]
        changes += [talk.prefers("language", "en"), talk.is_called(None), talk.remembers("Smokes")]
        states: list[Snapshot] = []
        for seed in range(5):
            user = UserKey("contract", uuid4().hex)
            random.Random(seed).shuffle(changes)
            for at in range(0, len(changes), 4):
                await store.commit(user, changes[at : at + 4])
            states.append(await self.raw_state(user))
        assert all(state == states[0] for state in states)

    async def test_concurrent_commits_return_what_came_before_them(self, store: OriginStore, user: UserKey) -> None:
        committed: dict[str, Committed] = {}

        async def commit(text: str) -> None:
            committed[text] = await store.commit(user, [_talk.remembers(text), _talk.prefers(text, 1)])

        async with create_task_group() as group:
            for place in range(20):
                group.start_soon(commit, f"fact {place}")
        ordered = sorted(committed.items(), key=lambda item: item[1].entry.order)
        for place, (_, done) in enumerate(ordered):
            snapshot = done.entry.snapshot
            assert {fact.text for fact in snapshot.facts} == {text for text, _ in ordered[: place + 1]}
            assert len(snapshot.preferences) == place + 1
            assert snapshot.version == ordered[0][1].entry.snapshot.version + place

    async def test_a_read_never_shows_half_a_commit(self, store: OriginStore, user: UserKey) -> None:
        entries: list[Entry] = []

        async def commit() -> None:
            await store.commit(user, [_talk.remembers(next_id()), _talk.prefers(next_id(), 1)])

        async def look() -> None:
            entries.append(await store.get(user))

        async with create_task_group() as group:
            for _ in range(20):
                group.start_soon(commit)
                group.start_soon(look)
        base = min(entry.snapshot.version for entry in entries) >> 32 << 32
        for entry in entries:
            done = entry.snapshot.version - base
            assert (len(entry.snapshot.facts), len(entry.snapshot.preferences)) == (done, done)

    async def test_a_deletion_erases_everything_but_itself(self, store: OriginStore, user: UserKey) -> None:
        await store.commit(user, everything())
        tombstone = (await store.delete(user)).snapshot
        assert tombstone.is_tombstone
        assert tombstone.erased_at == tombstone.version
        assert await self.raw_state(user) == tombstone
        assert tombstone == Snapshot(
            version=tombstone.version,
            exists=False,
            erased_at=tombstone.version,
            erased_time=tombstone.erased_time,
        )
        assert (await store.get_messages(user)).items == ()

    async def test_a_deletion_may_be_repeated_and_come_first(self, store: OriginStore, user: UserKey) -> None:
        first = (await store.delete(user)).snapshot
        second = (await store.delete(user)).snapshot
        assert first.is_tombstone
        assert second.version == second.erased_at == first.version + 1
        assert second.erased_time >= first.erased_time

    async def test_a_deletion_drops_what_was_made_in_ignorance_of_it(self, store: OriginStore, user: UserKey) -> None:
        await store.commit(user, everything())
        tombstone = (await store.delete(user)).snapshot
        overtaken = [
            Talk(base=tombstone.erased_at - 1, started=tombstone.erased_time + 60).says("had seen the user before"),
            Talk(base=None, started=tombstone.erased_time - 0.000001).says("began before"),
        ]
        committed = await store.commit(user, overtaken)
        assert committed.dropped == tuple(change.id for change in overtaken)
        assert committed.entry.snapshot == replace(tombstone, version=tombstone.version + 1)
        assert (await store.get_messages(user)).items == ()

    async def test_a_deleted_user_may_come_back(self, store: OriginStore, user: UserKey) -> None:
        await store.commit(user, everything())
        tombstone = (await store.delete(user)).snapshot
        said = [
            Talk(base=tombstone.erased_at, started=0.0).says("had seen the tombstone"),
            Talk(base=None, started=tombstone.erased_time).says("began after"),
        ]
        committed = await store.commit(user, [*said, Talk().says("dropped")])
        snapshot = committed.entry.snapshot
        assert len(committed.dropped) == 1
        assert snapshot.exists
        assert snapshot.erased_at == tombstone.erased_at
        assert snapshot.erased_time == tombstone.erased_time
        assert [message.id for message in snapshot.messages] == [change.id for change in said]
        assert (snapshot.facts, snapshot.preferences, snapshot.summaries) == ((), (), ())

    @pytest.mark.parametrize("bad", REFUSED)
    async def test_a_bad_change_is_refused_among_good_ones(self, store: OriginStore, user: UserKey, bad: str) -> None:
        good = everything()
        committed = await store.commit(user, [good[0], REFUSED[bad], *good[1:]])
        assert [refused.id for refused in committed.refused] == [REFUSED[bad].id]
        assert committed.refused[0].reason
        assert committed.dropped == ()
        absent = Snapshot(version=committed.entry.snapshot.version, exists=False)
        assert await self.raw_state(user) == apply(absent, good)

    async def test_refused_changes_leave_no_trace(self, store: OriginStore, user: UserKey) -> None:
        committed = await store.commit(user, list(REFUSED.values()))
        assert [refused.id for refused in committed.refused] == [change.id for change in REFUSED.values()]
        version = committed.entry.snapshot.version
        assert await self.raw_state(user) == Snapshot(version=version, exists=False)

    async def test_what_is_just_within_the_limits_is_taken(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk("s" * LIMITS.session_id)
        zone = timezone(timedelta(hours=5, minutes=30))
        changes: list[Change] = [
            talk.says("é" * (LIMITS.message // 2), agent_id="a" * LIMITS.agent_id, at=datetime.max.replace(tzinfo=UTC)),
            talk.says("x", metadata={"a": "x" * (LIMITS.metadata - 8)}, at=datetime.min.replace(tzinfo=UTC)),
            talk.says("x", at=datetime(2026, 1, 1, tzinfo=zone)),
            talk.remembers("x" * LIMITS.fact, importance=10),
            talk.prefers("x" * LIMITS.preference_name, '"' * LIMITS.preference_value),
            talk.prefers("large", 2**63 - 1),
            talk.is_called("x" * LIMITS.name),
            talk.sums_up("x" * LIMITS.summary),
        ]
        committed = await store.commit(user, changes)
        assert committed.refused == ()
        absent = Snapshot(version=committed.entry.snapshot.version, exists=False)
        assert await self.raw_state(user) == apply(absent, changes)

    async def test_forgetting_erases_the_text(self, store: OriginStore, user: UserKey) -> None:
        await store.commit(user, [_talk.remembers("Smokes"), _talk.forgets("Smokes")])
        assert b"Smokes" not in msgspec.json.encode(await self.raw_state(user))

    async def test_a_restore_raises_every_version(self, store: OriginStore, user: UserKey) -> None:
        before = (await store.commit(user, everything())).entry
        await self.raw_restored()
        after = await store.get(user)
        absent = (await store.get(UserKey("contract", uuid4().hex))).snapshot
        assert after.snapshot == replace(before.snapshot, version=absent.version)
        assert absent.version >= before.snapshot.version + 2**32 - 1
        assert absent.version % 2**32 == 0
        assert (await store.commit(user, [])).entry.snapshot.version == absent.version + 1
        await self.raw_restored()
        assert (await store.get(user)).snapshot.version >= absent.version + 2**32
