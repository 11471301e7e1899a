"""What every `Outbox` promises. A new backend's test is a fixture and a few hooks."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import pytest
from anyio import create_task_group
from anyio.lowlevel import checkpoint
from msgspec import UNSET
from msgspec.structs import replace

from edgememory.changes import Change, FactsUsed, MessageAdded, NameSet, PreferenceSet
from edgememory.ids import next_id
from edgememory.models import Claim, DeadLetter, Pending, UserKey
from edgememory.store import Outbox
from edgememory.testing.cache_contract import finishes_within
from edgememory.testing.clock import ManualClock

ANNA = UserKey("clinic", "anna")
BERT = UserKey("clinic", "bert")
CARL = UserKey("clinic", "carl")
LEASE = 30.0
DAMAGED = b"\xff{"

AWKWARD_IDS = [
    *("%", "_", ".", "..", "/", ":", "a:b", "\n", "'", '"', "*", "#", " ", "é", "e\u0301", "🦜", "x" * 512),
    *("foo", "foobar", "Foo", "fo%", "f_o", "em:1:clinic:foo"),
]


class InspectableOutbox(Outbox, Protocol):
    """An outbox that shows what was given up. Not in `Outbox`, because delivery does not need it."""

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]: ...


def said(text: str = "hello") -> MessageAdded:
    """Return a change with a new id."""
    return MessageAdded(
        id=next_id(),
        session_id="s-1",
        session_started=1.0,
        base=2**32 + 7,
        role="user",
        text=text,
        at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    )


def ids(changes: Iterable[Change]) -> list[str]:
    return [change.id for change in changes]


async def waiting(outbox: Outbox, user: UserKey) -> Pending:
    """Return what waits, without what a cache beside the outbox holds."""
    return replace(await outbox.pending(user), beside=UNSET)


class OutboxContract(ABC):
    """Subclass it, give it the hooks, and a fixture `outbox` that takes its time from the fixture `clock`."""

    pytestmark = pytest.mark.anyio
    damaged = DAMAGED
    """Bytes that are no change, of those that the storage can hold."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @abstractmethod
    async def reopen(self) -> InspectableOutbox:
        """Return a second outbox on the same storage, as another process would have it."""

    @abstractmethod
    async def raw_pending(self, user: UserKey) -> list[str]:
        """Return the ids that the storage holds for *user*, in order, without asking the outbox."""

    @abstractmethod
    async def raw_damage(self, user: UserKey, id: str) -> None:
        """Overwrite the stored change with `damaged`."""

    async def claim_one(self, outbox: Outbox, lease: float = LEASE) -> Claim:
        claims = await outbox.claim(lease=lease, limit=1)
        assert len(claims) == 1
        return claims[0]

    async def test_what_was_appended_is_in_the_storage(self, outbox: InspectableOutbox) -> None:
        changes = [said("one"), said("two")]
        await outbox.append(ANNA, changes)
        assert await self.raw_pending(ANNA) == ids(changes)
        assert await waiting((await self.reopen()), ANNA) == Pending(tuple(changes), 0)

    async def test_appending_says_what_now_waits_of_the_user_in_order(self, outbox: InspectableOutbox) -> None:
        first, second, third = said(), said(), said()
        assert await outbox.append(ANNA, [second]) == Pending((second,), 0)
        await outbox.append(BERT, [said()])
        other = await self.reopen()
        assert await other.append(ANNA, [third, first]) == Pending((first, second, third), 0)
        assert await outbox.append(ANNA, [third]) == Pending((first, second, third), 0), "kept once, and still waiting"

    async def test_appending_says_what_is_leased_and_the_floor(self, outbox: InspectableOutbox) -> None:
        first, second, third = said(), said(), said()
        await outbox.append(ANNA, [first, second])
        claim = await self.claim_one(outbox)
        await outbox.ack(claim, [first.id], 2**32 + 9)
        assert await outbox.append(ANNA, [third]) == Pending((second, third), 2**32 + 9)
        assert await outbox.append(ANNA, []) == Pending((second, third), 2**32 + 9)
        assert await outbox.append(BERT, []) == Pending()

    async def test_every_kind_of_change_comes_back_as_it_was(self, outbox: InspectableOutbox) -> None:
        changes: list[Change] = [
            said('🦜 \\ "quoted" \u2028 \' \x7f ẞ'),
            NameSet(id=next_id(), session_id="\u2028", session_started=0.1, name=None),
            PreferenceSet(id=next_id(), session_id="s", session_started=1e9, name="rate", value=0.1),
            FactsUsed(id=next_id(), session_id="s", session_started=2.0, keys=("a", "b")),
        ]
        await outbox.append(ANNA, changes)
        assert (await outbox.pending(ANNA)).changes == tuple(changes)

    async def test_a_message_of_a_mebibyte_fits(self, outbox: InspectableOutbox) -> None:
        big = said("\n" * 1024 * 1024)
        await outbox.append(ANNA, [big, said()])
        assert (await self.claim_one(outbox)).changes == (big,), "the first change fits, whatever its size"

    async def test_a_user_who_was_never_seen_has_nothing_pending(self, outbox: InspectableOutbox) -> None:
        assert await waiting(outbox, ANNA) == Pending()
        assert await outbox.claim(lease=LEASE, limit=10) == []

    async def test_appending_nothing_makes_nobody_claimable(self, outbox: InspectableOutbox) -> None:
        await outbox.append(ANNA, [])
        assert await outbox.claim(lease=LEASE, limit=10) == []

    async def test_pending_is_in_the_order_of_ids(self, outbox: InspectableOutbox) -> None:
        first, second, third = said(), said(), said()
        await outbox.append(ANNA, [third, first])
        await outbox.append(ANNA, [second])
        assert ids((await outbox.pending(ANNA)).changes) == [first.id, second.id, third.id]

    async def test_a_change_appended_twice_is_kept_once(self, outbox: InspectableOutbox) -> None:
        change = said()
        await outbox.append(ANNA, [change, change])
        await (await self.reopen()).append(ANNA, [change])
        assert await self.raw_pending(ANNA) == [change.id]
        assert (await outbox.depth()).changes == 1

    @pytest.mark.parametrize("user_id", AWKWARD_IDS, ids=ascii)
    async def test_no_id_is_mistaken_for_another(self, outbox: InspectableOutbox, user_id: str) -> None:
        users = [UserKey("clinic", other) for other in AWKWARD_IDS] + [UserKey("shop", user_id)]
        changes = {user: said() for user in users}
        for user, change in changes.items():
            await outbox.append(user, [change])
        user = UserKey("clinic", user_id)
        assert await self.raw_pending(user) == [changes[user].id]
        claims = await outbox.claim(lease=LEASE, limit=len(users))
        assert {claim.user: claim.changes for claim in claims} == {user: (change,) for user, change in changes.items()}
        mine = next(claim for claim in claims if claim.user == user)
        await outbox.ack(mine, ids(mine.changes), 5)
        for other in users:
            expected = Pending((), 5) if other == user else Pending((changes[other],), 0)
            assert await waiting(outbox, other) == expected

    async def test_a_leased_user_is_pending_and_claimed_by_nobody_else(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        change = said()
        await outbox.append(ANNA, [change])
        claim = await self.claim_one(outbox)
        clock.advance(LEASE - 0.001)
        other = await self.reopen()
        await other.append(ANNA, [said()])
        assert claim.changes == (change,)
        assert (await other.pending(ANNA)).changes[0] == change
        assert await other.claim(lease=LEASE, limit=10) == []

    async def test_a_lease_that_ran_out_is_taken_over(self, outbox: InspectableOutbox, clock: ManualClock) -> None:
        await outbox.append(ANNA, [said()])
        dead_process = await self.claim_one(outbox)
        clock.advance(LEASE)
        heir = await self.claim_one(await self.reopen())
        assert heir.changes == dead_process.changes
        assert heir.token != dead_process.token

    async def test_a_settled_claim_frees_the_user_at_once(self, outbox: InspectableOutbox) -> None:
        first, second, late = said(), said(), said()
        await outbox.append(ANNA, [first, second])
        claim = await self.claim_one(outbox)
        await outbox.append(ANNA, [late])
        await outbox.ack(claim, [first.id], 1)
        assert await outbox.claim(lease=LEASE, limit=1) == [], "one of its changes is not settled yet"
        await outbox.reject(claim, [second.id], "no")
        assert (await self.claim_one(outbox)).changes == (late,)

    async def test_a_user_is_claimable_again_after_everything_was_acknowledged(self, outbox: InspectableOutbox) -> None:
        change = said()
        for _ in range(2):
            await outbox.append(ANNA, [change])
            claim = await self.claim_one(outbox)
            await outbox.ack(claim, ids(claim.changes), 1)
            assert await self.raw_pending(ANNA) == []
            assert await outbox.claim(lease=LEASE, limit=1) == []

    async def test_acknowledging_removes_changes_and_raises_the_floor(self, outbox: InspectableOutbox) -> None:
        first, second = said(), said()
        await outbox.append(ANNA, [first, second])
        claim = await self.claim_one(outbox)
        await outbox.ack(claim, [first.id], 2**32 + 8)
        assert await waiting((await self.reopen()), ANNA) == Pending((second,), 2**32 + 8)

    async def test_the_floor_never_goes_down(self, outbox: InspectableOutbox) -> None:
        await outbox.append(ANNA, [said()])
        claim = await self.claim_one(outbox)
        for version in (2**53, 7):
            await outbox.ack(claim, (), version)
        pending = await outbox.pending(ANNA)
        assert (pending.floor, pending.changes) == (2**53, claim.changes)
        assert await outbox.claim(lease=LEASE, limit=1) == [], "acknowledging nothing settles nothing"

    async def test_the_floor_outlives_the_changes(self, outbox: InspectableOutbox, clock: ManualClock) -> None:
        await outbox.ack(Claim(ANNA, (), "nobody's"), (), 9)
        clock.advance(89 * 86_400)
        assert await waiting(outbox, ANNA) == Pending((), 9)

    async def test_what_was_delivered_late_is_delivered(self, outbox: InspectableOutbox, clock: ManualClock) -> None:
        await outbox.append(ANNA, [said()])
        claim = await self.claim_one(outbox)
        clock.advance(LEASE * 10)
        await outbox.ack(claim, ids(claim.changes), 4)
        assert await waiting(outbox, ANNA) == Pending((), 4)
        assert await outbox.claim(lease=LEASE, limit=1) == []

    async def test_a_late_acknowledgement_leaves_the_heir_its_lease(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        await outbox.append(ANNA, [said()])
        slow = await self.claim_one(outbox)
        clock.advance(LEASE)
        heir = await self.claim_one(await self.reopen())
        late = said()
        await outbox.append(ANNA, [late])
        await outbox.ack(slow, ids(slow.changes), 4)
        assert await self.raw_pending(ANNA) == [late.id]
        assert await outbox.claim(lease=LEASE, limit=1) == []
        await outbox.ack(heir, ids(heir.changes), 5)
        assert (await self.claim_one(outbox)).changes == (late,)

    async def test_a_clock_set_back_locks_nobody_for_ever(self, outbox: InspectableOutbox, clock: ManualClock) -> None:
        await outbox.append(ANNA, [said()])
        await self.claim_one(outbox)
        clock.step(-86_400)
        await self.claim_one(outbox)

    async def test_changes_made_before_a_clock_was_set_back_are_claimable(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        await outbox.append(ANNA, [said()])
        clock.step(-86_400)
        await self.claim_one(outbox)
        assert (await outbox.depth()).oldest_age == 0.0

    async def test_the_longest_waiting_user_comes_first(self, outbox: InspectableOutbox, clock: ManualClock) -> None:
        for user in (BERT, ANNA, BERT):
            await outbox.append(user, [said()])
            clock.advance(1)
        assert [(await self.claim_one(outbox)).user for _ in range(2)] == [BERT, ANNA]

    async def test_a_user_waits_from_the_first_change_that_waits(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        await outbox.append(ANNA, [said()])
        claim = await self.claim_one(outbox)
        await outbox.ack(claim, ids(claim.changes), 1)
        for user in (BERT, ANNA):
            clock.advance(1)
            await outbox.append(user, [said()])
        assert (await self.claim_one(outbox)).user == BERT

    async def test_a_user_who_cannot_be_delivered_holds_up_nobody(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        for user in (ANNA, BERT):
            await outbox.append(user, [said()])
            clock.advance(1)
        assert (await self.claim_one(outbox)).user == ANNA
        clock.advance(LEASE)
        assert (await self.claim_one(outbox)).user == BERT

    async def test_a_user_with_nothing_left_takes_nobody_s_place(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        await outbox.append(ANNA, [said()])
        slow = await self.claim_one(outbox)
        clock.advance(LEASE)
        await self.claim_one(outbox)
        await outbox.ack(slow, ids(slow.changes), 4)
        clock.advance(LEASE)
        for user in (BERT, CARL):
            await outbox.append(user, [said()])
            clock.advance(1)
        assert [claim.user for claim in await outbox.claim(lease=LEASE, limit=2)] == [BERT, CARL]

    async def test_many_changes_of_one_user_come_in_portions(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        changes = [said() for _ in range(1_000)]
        await outbox.append(ANNA, changes)
        portions: list[list[str]] = []
        while claims := await outbox.claim(lease=LEASE, limit=1):
            portions.append(ids(claims[0].changes))
            await outbox.ack(claims[0], portions[-1], 1)
        assert [id for portion in portions for id in portion] == ids(changes)
        assert max(map(len, portions)) <= 256

    async def test_big_changes_come_in_small_portions(self, outbox: InspectableOutbox) -> None:
        changes = [said("x" * 300_000) for _ in range(8)]
        await outbox.append(ANNA, changes)
        assert (await self.claim_one(outbox)).changes == tuple(changes[:3])

    async def test_a_refused_change_is_kept_among_the_dead_letters(
        self, outbox: InspectableOutbox, clock: ManualClock
    ) -> None:
        good, bad = said(), said("no good")
        await outbox.append(ANNA, [good, bad])
        claim = await self.claim_one(outbox)
        clock.advance(1)
        for _ in range(2):
            await outbox.reject(claim, [bad.id], "22P05: \\u0000 cannot be converted to text")
        assert await self.raw_pending(ANNA) == [good.id]
        reopened = await self.reopen()
        [letter] = await reopened.dead_letters(limit=10)
        assert (letter.user, letter.id, letter.at) == (ANNA, bad.id, clock.now())
        assert letter.error == "22P05: \\u0000 cannot be converted to text"
        assert b"no good" in letter.body
        assert (await reopened.depth()).dead == 1

    async def test_dead_letters_are_shown_newest_first(self, outbox: InspectableOutbox) -> None:
        changes = [said() for _ in range(3)]
        await outbox.append(ANNA, changes)
        claim = await self.claim_one(outbox)
        for change in changes:
            await outbox.reject(claim, [change.id], "no")
        letters = await outbox.dead_letters(limit=2)
        assert [letter.id for letter in letters] == [changes[2].id, changes[1].id]

    async def test_a_damaged_change_holds_up_no_other(self, outbox: InspectableOutbox, clock: ManualClock) -> None:
        lost, damaged, good, other = said(), said(), said(), said()
        await outbox.append(BERT, [lost])
        clock.advance(1)
        await outbox.append(ANNA, [damaged, good])
        await self.raw_damage(BERT, lost.id)
        await self.raw_damage(ANNA, damaged.id)
        assert (await outbox.pending(ANNA)).changes == (good,)
        claim = await self.claim_one(outbox)
        assert (claim.user, claim.changes) == (ANNA, (good,))
        letters = await outbox.dead_letters(limit=10)
        assert {(letter.user, letter.id, letter.body) for letter in letters} == {
            (BERT, lost.id, self.damaged),
            (ANNA, damaged.id, self.damaged),
        }
        await outbox.append(BERT, [other])
        assert (await self.claim_one(outbox)).changes == (other,)

    async def test_depth_counts_what_waits(self, outbox: InspectableOutbox, clock: ManualClock) -> None:
        empty = await outbox.depth()
        assert (empty.changes, empty.users, empty.dead, empty.oldest_age) == (0, 0, 0, None)
        await outbox.append(ANNA, [said(), said()])
        clock.advance(5)
        await outbox.append(BERT, [said()])
        await self.claim_one(outbox)
        clock.advance(1)
        depth = await outbox.depth()
        assert (depth.changes, depth.users, depth.dead, depth.oldest_age) == (3, 2, 0, 6.0)

    async def test_a_cancelled_look_at_what_waits_leaves_the_outbox_whole(self, outbox: InspectableOutbox) -> None:
        of_anna, of_bert = said(), said()
        await outbox.append(ANNA, [of_anna])
        await outbox.append(BERT, [of_bert])
        turns = 0
        while not await finishes_within(turns, lambda: outbox.pending(ANNA)):
            assert (await outbox.pending(BERT)).changes == (of_bert,)
            turns += 1 + turns // 8
        assert (await outbox.pending(ANNA)).changes == (of_anna,)

    async def test_a_cancelled_append_leaves_the_outbox_whole(self, outbox: InspectableOutbox) -> None:
        of_anna, of_bert = said(), said()
        await outbox.append(BERT, [of_bert])
        turns = 0
        while not await finishes_within(turns, lambda: outbox.append(ANNA, [of_anna])):
            assert (await outbox.pending(BERT)).changes == (of_bert,)
            turns += 1 + turns // 8  # the first awaits one by one: an append may be many
        assert await self.raw_pending(ANNA) == [of_anna.id]
        claims = await outbox.claim(lease=LEASE, limit=2)
        assert {claim.user: claim.changes for claim in claims} == {ANNA: (of_anna,), BERT: (of_bert,)}

    async def test_concurrent_claims_hand_each_change_out_once(self, outbox: InspectableOutbox) -> None:
        appended: list[str] = []
        claimed: list[str] = []
        total = 20 * 5

        async def append(task: int) -> None:
            for _ in range(5):
                change = said()
                appended.append(change.id)
                await outbox.append(UserKey("clinic", f"user-{task % 7}"), [change])

        async def deliver(mine: Outbox) -> None:
            while len(claimed) < total:
                for claim in await mine.claim(lease=LEASE, limit=2):
                    claimed.extend(ids(claim.changes))
                    await mine.ack(claim, ids(claim.changes), 1)
                await checkpoint()

        async with create_task_group() as tasks:
            for task in range(20):
                tasks.start_soon(append, task)
            for _ in range(3):
                tasks.start_soon(deliver, await self.reopen())
        assert sorted(claimed) == sorted(appended), "each once: no lease ran out, the clock stands still"
        assert (await outbox.depth()).changes == 0
