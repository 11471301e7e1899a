"""What an origin's `ExtractionQueue` promises: part of `OriginContract`."""

from collections.abc import Sequence

from edgememory.models import Awaiting, UserKey
from edgememory.store import OriginStore
from edgememory.testing.talk import Talk


async def claimed(store: OriginStore, user: UserKey, *, lease: float = 60.0) -> Sequence[Awaiting]:
    """Claim everything, and return what is the user's: the database may be shared."""
    return [
        each for each in await store.claim_extractions(user.namespace, lease=lease, limit=1000) if each.user == user
    ]


class ExtractionContract:
    """Subclass `OriginContract`, which has these tests too."""

    async def test_a_session_that_ended_is_claimed_by_one(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk("call-7", base=0, started=2.5)
        ended = talk.ends(language="german")
        await store.commit(user, [talk.says("Hallo"), ended])
        assert await claimed(store, user) == [
            Awaiting(
                user=user,
                id=ended.id,
                session_id="call-7",
                session_started=2.5,
                base=0,
                language="german",
                tries=1,
            )
        ]
        assert await claimed(store, user) == []

    async def test_a_lease_that_is_over_is_somebody_elses_turn(self, store: OriginStore, user: UserKey) -> None:
        await store.commit(user, [Talk(base=0).ends()])
        (first,) = await claimed(store, user, lease=0.0)
        (second,) = await claimed(store, user)
        assert (first.id, first.tries, second.tries) == (second.id, 1, 2)

    async def test_what_was_extracted_is_committed_once(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk(base=0)
        await store.commit(user, [talk.ends()])
        (awaiting,) = await claimed(store, user, lease=0.0)
        (again,) = await claimed(store, user)
        committed = await store.finish_extraction(awaiting, [talk.remembers("Has a dog")])
        assert committed is not None
        assert [fact.text for fact in committed.entry.snapshot.facts] == ["Has a dog"]
        assert await store.finish_extraction(again, [talk.remembers("Has a cat")]) is None
        assert (await store.get(user)).snapshot == committed.entry.snapshot

    async def test_an_end_that_is_delivered_again_asks_for_nothing(self, store: OriginStore, user: UserKey) -> None:
        ended = Talk(base=0).ends()
        await store.commit(user, [ended])
        (awaiting,) = await claimed(store, user)
        await store.finish_extraction(awaiting, [])
        await store.commit(user, [ended])
        assert await claimed(store, user) == []

    async def test_a_postponed_session_is_claimed_when_its_time_has_come(
        self, store: OriginStore, user: UserKey
    ) -> None:
        await store.commit(user, [Talk(base=0).ends()])
        (awaiting,) = await claimed(store, user)
        await store.postpone_extraction(awaiting, seconds=3600, error="away")
        assert await claimed(store, user) == []
        await store.postpone_extraction(awaiting, seconds=0, error="away")
        (awaiting,) = await claimed(store, user)
        await store.postpone_extraction(awaiting, seconds=0, error="prose", gives_up=True)
        assert await claimed(store, user) == []

    async def test_whose_lease_is_over_disturbs_nobody(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk(base=0)
        await store.commit(user, [talk.ends()])
        (late,) = await claimed(store, user, lease=0.0)
        (awaiting,) = await claimed(store, user)
        await store.postpone_extraction(late, seconds=0, error="away")
        assert await claimed(store, user) == []
        await store.postpone_extraction(late, seconds=0, error="prose", gives_up=True)
        assert await store.finish_extraction(awaiting, [talk.remembers("Has a dog")]) is not None

    async def test_a_deletion_takes_what_awaits_extraction_along(self, store: OriginStore, user: UserKey) -> None:
        talk = Talk(base=0)
        await store.commit(user, [talk.ends()])
        (awaiting,) = await claimed(store, user, lease=0.0)
        tombstone = await store.delete(user)
        assert await claimed(store, user) == []
        assert await store.finish_extraction(awaiting, [talk.remembers("A secret")]) is None
        await store.commit(user, [talk.ends()])
        assert await claimed(store, user) == [], "what ended before the deletion is dropped"
        assert (await store.get(user)).snapshot.erased_at == tombstone.snapshot.version
