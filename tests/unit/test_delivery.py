"""Delivery against an origin and an outbox that do as they are told, in virtual time."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio.testing

from edgememory.background import Background
from edgememory.changes import Change
from edgememory.errors import StoreBlockedError, StoreError, StoreRejectedError, StoreUnavailableError
from edgememory.models import Claim, Committed, Entry, UserKey
from edgememory.outbox.backoff import FIRST, LONGEST, backoff
from edgememory.outbox.delivery import Delivery, DeliveryPolicy, Settled
from edgememory.telemetry import Counters
from edgememory.testing.talk import Talk
from tests.unit.fakes import ANNA, BERT, NOW, FakeOrigin, FakeOutbox, virtual_now

UNAVAILABLE = StoreUnavailableError("connection refused", store="origin", operation="commit")
BLOCKED = StoreBlockedError("wrong password", store="origin", operation="commit")
REJECTED = StoreRejectedError("invalid value", store="origin", operation="commit")
BROKEN = StoreBlockedError("the disk is full", store="outbox", operation="ack")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def origin() -> FakeOrigin:
    return FakeOrigin()


@pytest.fixture
def outbox() -> FakeOutbox:
    return FakeOutbox()


class Running:
    """A delivery under way, and what it said."""

    def __init__(self, outbox: FakeOutbox, origin: FakeOrigin, background: Background, counters: Counters) -> None:
        self.counters = counters
        self.offered: list[tuple[UserKey, Entry]] = []
        self.settled: list[Settled] = []
        self._outbox = outbox
        self.delivery = Delivery(
            outbox=outbox,
            origin=origin,
            offer=self.offer,
            background=background,
            counters=counters,
            policy=self.policy,
            on_settled=self.settled.append,
            now=virtual_now,
        )

    policy = DeliveryPolicy()

    async def offer(self, user: UserKey, entry: Entry) -> None:
        self.offered.append((user, entry))

    async def until_empty(self) -> None:
        """Wait until the outbox holds nothing: it is looked at after each answer of the origin."""
        self.delivery.wake()
        with anyio.fail_after(86_400):
            while (await self._outbox.depth()).changes:
                await self.delivery.settled()


@asynccontextmanager
async def delivering(outbox: FakeOutbox, origin: FakeOrigin, kind: type[Running] = Running) -> AsyncIterator[Running]:
    counters = Counters()
    async with Background(counters) as background:
        running = kind(outbox, origin, background, counters)
        background.start(running.delivery.run)
        yield running
    assert counters.background_errors == 0


def said(*texts: str) -> list[Change]:
    talk = Talk(base=0, started=NOW)
    return [talk.says(text) for text in texts]


def refuses(error: Exception, *texts: str) -> Any:
    """A judge that raises *error* for every commit that holds one of these messages."""

    def judge(user: UserKey, changes: Sequence[Change]) -> None:
        if any(getattr(change, "text", None) in texts for change in changes):
            raise error

    return judge


@pytest.mark.parametrize("failures", [1, 2, 3, 6, 7, 100])
def test_pauses_double_up_to_ten_seconds_with_jitter(failures: int) -> None:
    ceiling = min(LONGEST, FIRST * 2 ** (failures - 1))
    pauses = {backoff(failures) for _ in range(200)}
    assert all(ceiling / 2 <= pause <= ceiling for pause in pauses)
    assert len(pauses) > 100


async def test_what_earlier_processes_left_is_adopted_at_the_start(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    await outbox.append(ANNA, said("one", "two"))
    async with delivering(outbox, origin) as running:
        while (await outbox.depth()).changes:
            await running.delivery.settled()
    assert origin.texts(ANNA) == ["one", "two"]
    assert running.counters.changes_delivered == 2
    assert (await outbox.pending(ANNA)).floor == 1


async def test_a_dead_process_s_lease_runs_out_and_hands_over(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    await outbox.append(ANNA, said("one"))
    await outbox.claim(lease=30, limit=1)
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert origin.texts(ANNA) == ["one"]
    assert origin.commit_times[0] >= 30


async def test_a_hanging_process_s_lease_runs_out_and_hands_over(outbox: FakeOutbox) -> None:
    hanging, healthy = FakeOrigin(), FakeOrigin()
    await outbox.append(ANNA, said("one"))
    hanging.switch.hang()
    async with delivering(outbox, hanging) as first:
        first.delivery.wake()
        await anyio.sleep(1)
        async with delivering(outbox, healthy) as second:
            await second.until_empty()
    assert healthy.texts(ANNA) == ["one"]


async def test_a_change_is_removed_only_after_the_origin_has_answered(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    change = said("one")
    async with delivering(outbox, origin) as running:
        origin.switch.hang()
        await outbox.append(ANNA, change)
        running.delivery.wake()
        await anyio.sleep(1)
        assert origin.commits == [(ANNA, (change[0].id,))]
        assert (await outbox.pending(ANNA)).changes == tuple(change)
        assert not running.offered
        origin.switch.heal()
        await running.until_empty()


async def test_the_new_entry_is_offered_before_the_change_is_acknowledged(
    origin: FakeOrigin, outbox: FakeOutbox
) -> None:
    class Looking(Running):
        async def offer(self, user: UserKey, entry: Entry) -> None:
            assert len((await outbox.pending(user)).changes) == 1
            await super().offer(user, entry)

    await outbox.append(ANNA, said("one"))
    async with delivering(outbox, origin, Looking) as running:
        await running.until_empty()
    [(user, entry)] = running.offered
    assert (user, entry.snapshot.version, entry.tentative_at) == (ANNA, 1, 0.0)
    assert [message.text for message in entry.snapshot.messages] == ["one"]


async def test_what_still_waits_is_laid_over_the_offered_entry(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    many = [f"message {number}" for number in range(300)]
    await outbox.append(ANNA, said(*many))
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert [len(ids) for _, ids in origin.commits] == [256, 44]
    shown = [entry.snapshot.messages[-1].text for _, entry in running.offered]
    assert shown == ["message 299", "message 299"]
    assert [entry.tentative_at > 0 for _, entry in running.offered] == [True, False]


@pytest.mark.parametrize("error", [UNAVAILABLE, BLOCKED])
async def test_failures_are_retried_for_ever(origin: FakeOrigin, outbox: FakeOutbox, error: Exception) -> None:
    async with delivering(outbox, origin) as running:
        origin.switch.fail(error)
        await outbox.append(ANNA, said("one"))
        running.delivery.wake()
        await anyio.sleep(6 * 3600)
        # A lease ends between two tries: then the next claim carries on.
        gaps = [later - earlier for earlier, later in pairwise(origin.commit_times)]
        assert max(gaps) <= DeliveryPolicy().lease + 1.2 * DeliveryPolicy().poll
        assert running.counters.delivery_failures == len(origin.commits)
        origin.switch.heal()
        await running.until_empty()
    assert origin.texts(ANNA) == ["one"]


async def test_the_pauses_between_tries_grow(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    class Patient(Running):
        policy = DeliveryPolicy(lease=3600)

    async with delivering(outbox, origin, Patient) as running:
        origin.switch.fail(UNAVAILABLE)
        await outbox.append(ANNA, said("one"))
        running.delivery.wake()
        await anyio.sleep(600)
    gaps = [later - earlier for earlier, later in pairwise(origin.commit_times)]
    for failures, gap in enumerate(gaps, 1):
        ceiling = min(LONGEST, FIRST * 2 ** (failures - 1))
        assert ceiling / 2 <= gap <= ceiling


async def test_blocked_is_shown_and_ends(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    async with delivering(outbox, origin) as running:
        origin.switch.fail(BLOCKED)
        await outbox.append(ANNA, said("one"))
        await running.delivery.drained()
        assert running.delivery.blocked is BLOCKED
        origin.switch.heal()
        await running.until_empty()
        assert running.delivery.blocked is None


async def test_an_origin_that_is_only_away_is_not_blocked(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    async with delivering(outbox, origin) as running:
        origin.switch.fail(UNAVAILABLE)
        await outbox.append(ANNA, said("one"))
        await running.delivery.drained()
        assert running.delivery.blocked is None


async def test_one_success_ends_everybody_s_pause(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    class Patient(Running):
        policy = DeliveryPolicy(lease=3600)

    async with delivering(outbox, origin, Patient) as running:
        origin.switch.fail(UNAVAILABLE)
        await outbox.append(ANNA, said("one"))
        await outbox.append(BERT, said("two"))
        running.delivery.wake()
        await anyio.sleep(300)
        origin.switch.heal()
        await running.until_empty()
    assert origin.commit_times[-1] == origin.commit_times[-2]


async def test_a_batch_that_failed_twice_is_divided(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    def too_slow_together(user: UserKey, changes: Sequence[Change]) -> None:
        if len(changes) > 1:
            raise UNAVAILABLE

    origin.judge = too_slow_together
    await outbox.append(ANNA, said("one", "two", "three"))
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert [len(ids) for _, ids in origin.commits][:3] == [3, 3, 1]
    assert origin.texts(ANNA) == ["one", "two", "three"]


async def test_after_an_outage_a_long_call_is_a_few_commits(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    async with delivering(outbox, origin) as running:
        origin.switch.fail(UNAVAILABLE)
        await outbox.append(ANNA, said(*MANY))
        running.delivery.wake()
        await anyio.sleep(600)
        origin.switch.heal()
        before = len(origin.commits)
        await running.until_empty()
    assert [len(ids) for _, ids in origin.commits][before:] == [1, 2, 4, 8, 16, 32, 37]


GOOD = [f"good {number}" for number in range(20)]
MANY = [f"many {number}" for number in range(100)]


async def test_once_an_outage_is_over_a_call_is_one_commit_again(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    await outbox.append(ANNA, said("one"))
    origin.switch.fail(UNAVAILABLE)
    async with delivering(outbox, origin) as running:
        await anyio.sleep(10)
        origin.switch.heal()
        await running.until_empty()
        origin.commits.clear()
        await outbox.append(ANNA, said("two", "three", "four"))
        await running.until_empty()
    assert len(origin.commits) == 1


async def test_what_an_outage_kept_from_its_turn_does_not_wait_for_the_lease(
    origin: FakeOrigin, outbox: FakeOutbox
) -> None:
    await outbox.append(ANNA, said(*"abcde"))
    origin.switch.fail(UNAVAILABLE)
    async with delivering(outbox, origin) as running:
        await anyio.sleep(5)
        origin.switch.heal()
        healed_at = anyio.current_time()
        await running.until_empty()
        assert anyio.current_time() <= healed_at + LONGEST < DeliveryPolicy().lease


async def test_a_change_that_the_origin_rejects_is_buried_alone(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    origin.judge = refuses(REJECTED, "bad")
    await outbox.append(ANNA, said(*GOOD[:10], "bad", *GOOD[10:]))
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert origin.texts(ANNA) == GOOD
    [letter] = await outbox.dead_letters(limit=9)
    assert b'"bad"' in letter.body
    assert "invalid value" in letter.error
    assert running.counters.changes_rejected == 1
    assert running.counters.changes_delivered == len(GOOD)
    assert {refusal.id for settled in running.settled for refusal in settled.refused} == {letter.id}


async def test_one_bad_change_among_many_is_found_by_halving(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    origin.judge = refuses(REJECTED, "bad")
    await outbox.append(ANNA, said(*MANY[:37], "bad", *MANY[37:]))
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert origin.texts(ANNA) == MANY
    assert len(origin.commits) < 25


async def test_who_has_many_bad_changes_does_not_keep_the_origin_from_others(
    origin: FakeOrigin, outbox: FakeOutbox
) -> None:
    origin.judge = refuses(REJECTED, *MANY)
    await outbox.append(ANNA, said(*MANY))
    await outbox.append(BERT, said("good"))
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    users = [user for user, _ in origin.commits]
    assert users.index(BERT) < 3


async def test_no_more_is_committed_once_the_lease_is_over() -> None:
    """Somebody else may be at it by then."""
    claimed = 0.0
    longest = 0.0

    class Watched(FakeOutbox):
        async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
            nonlocal claimed
            claims = await super().claim(lease=lease, limit=limit)
            claimed = anyio.current_time() if claims else claimed
            return claims

    class Slow(FakeOrigin):
        async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
            nonlocal longest
            longest = max(longest, anyio.current_time() - claimed)
            await anyio.sleep(1.0)
            return await super().commit(user, changes)

    class Hurried(Running):
        policy = DeliveryPolicy(lease=10.0)

    outbox, origin = Watched(), Slow()
    origin.judge = refuses(REJECTED, *MANY)
    await outbox.append(ANNA, said(*MANY))
    async with delivering(outbox, origin, Hurried) as running:
        await running.until_empty()
    assert len(await outbox.dead_letters(limit=200)) == len(MANY)
    assert longest <= 10.0 + 1.0, "a change that is refused is two commits"


@pytest.mark.parametrize("poisons", [1, 2, 4])
async def test_changes_whose_commit_never_answers_are_retried_alone(
    origin: FakeOrigin, outbox: FakeOutbox, poisons: int
) -> None:
    bad = [f"bad {number}" for number in range(poisons)]
    origin.judge = refuses(UNAVAILABLE, *bad)
    await outbox.append(ANNA, said(*GOOD[:10], *bad, *GOOD[10:]))
    async with delivering(outbox, origin) as running:
        running.delivery.wake()
        while len(origin.texts(ANNA)) < len(GOOD):
            await running.delivery.settled()
        await anyio.sleep(3600)
        assert origin.texts(ANNA) == GOOD
        waiting = (await outbox.pending(ANNA)).changes
        assert [change.text for change in waiting if hasattr(change, "text")] == bad
        assert (await outbox.depth()).dead == 0
        origin.judge = refuses(UNAVAILABLE)
        await running.until_empty()
    assert len(origin.texts(ANNA)) == len(GOOD) + poisons


async def test_one_bad_user_holds_up_no_other(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    def judge(user: UserKey, changes: Sequence[Change]) -> None:
        if user == ANNA:
            raise UNAVAILABLE

    origin.judge = judge
    others = [UserKey("clinic", f"user-{number}") for number in range(100)]
    await outbox.append(ANNA, said("bad"))
    async with delivering(outbox, origin) as running:
        running.delivery.wake()
        await anyio.sleep(600)
        began = anyio.current_time()
        for user in others:
            await outbox.append(user, said("good"))
        running.delivery.wake()
        while (await outbox.depth()).changes > 1:
            await running.delivery.settled()
        assert anyio.current_time() - began < FIRST
    assert all(origin.texts(user) == ["good"] for user in others)


async def test_a_bug_in_a_store_holds_up_no_other_change_and_is_counted(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    origin.judge = refuses(ValueError("a driver's own"), "bad")
    good, bad = said("good"), said("bad")
    await outbox.append(ANNA, [*bad, *good])
    async with delivering(outbox, origin) as running:
        assert not await running.delivery.drained()
        while (await outbox.pending(ANNA)).changes != tuple(bad):
            await running.delivery.settled()
        assert anyio.current_time() < DeliveryPolicy().lease
        origin.judge = lambda user, changes: None
        await running.until_empty()
        assert running.counters.background_errors == running.counters.delivery_failures > 0
        running.counters.background_errors = 0
    assert sorted(origin.texts(ANNA)) == ["bad", "good"]


async def test_a_hanging_origin_is_given_up_and_asked_again(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    async with delivering(outbox, origin) as running:
        origin.switch.hang()
        await outbox.append(ANNA, said("one"))
        await running.delivery.drained()
        assert anyio.current_time() == pytest.approx(DeliveryPolicy().commit_timeout)
        origin.switch.heal()
        await running.until_empty()


async def test_a_commit_whose_answer_was_lost_is_repeated_and_takes_effect_once(
    origin: FakeOrigin, outbox: FakeOutbox
) -> None:
    origin.loses_answers = UNAVAILABLE
    await outbox.append(ANNA, said("one", "two"))
    async with delivering(outbox, origin) as running:
        await running.delivery.drained()
        origin.loses_answers = None
        await running.until_empty()
    assert origin.texts(ANNA) == ["one", "two"]


async def test_a_change_that_the_origin_refuses_is_a_dead_letter_and_no_cache_shows_it(
    origin: FakeOrigin, outbox: FakeOutbox
) -> None:
    talk = Talk(base=0, started=NOW)
    bad = talk.remembers("x" * 2000)
    await outbox.append(ANNA, [talk.says("one"), bad, talk.says("two")])
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert origin.texts(ANNA) == ["one", "two"]
    [letter] = await outbox.dead_letters(limit=9)
    assert letter.id == bad.id
    assert "1024" in letter.error
    _, entry = running.offered[-1]
    assert entry.snapshot.facts == ()
    assert entry.tentative_at == 0.0
    assert (running.counters.changes_rejected, running.counters.changes_delivered) == (1, 2)
    assert [refusal.id for refusal in running.settled[-1].refused] == [bad.id]


@pytest.mark.parametrize("alone", [False, True])
async def test_a_session_hears_of_a_refusal_before_anybody_sees_the_new_entry(
    origin: FakeOrigin, outbox: FakeOutbox, alone: bool
) -> None:
    """Otherwise it would lay what was refused over it, and the region would show that for good."""

    class Looking(Running):
        async def offer(self, user: UserKey, entry: Entry) -> None:
            assert any(settled.refused for settled in self.settled)
            await super().offer(user, entry)

    if alone:
        origin.judge = refuses(REJECTED, "x" * 2000)
    await outbox.append(ANNA, [Talk(base=0, started=NOW).remembers("x" * 2000)])
    async with delivering(outbox, origin, Looking) as running:
        await running.until_empty()
    assert running.offered
    assert sum(bool(settled.refused) for settled in running.settled) == 2, "and again when the outbox holds it no more"


@pytest.mark.parametrize("alone", [False, True])
async def test_the_version_rises_once_more_when_what_was_refused_is_buried(
    origin: FakeOrigin, outbox: FakeOutbox, alone: bool
) -> None:
    """Somebody may have seen it wait until then, and shown it to the region on another host's newer version."""
    buried: list[int] = []

    def judge(user: UserKey, changes: Sequence[Change]) -> None:
        buried.append(len(outbox._dead))
        if alone and changes:
            raise REJECTED

    origin.judge = judge
    await outbox.append(ANNA, [Talk(base=0, started=NOW).remembers("x" * 2000)])
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert buried == ([0, 0, 1] if alone else [0, 1])
    assert running.offered[-1][1] == await origin.get(ANNA)


async def test_after_a_rejected_change_a_newer_entry_without_it_is_offered(
    origin: FakeOrigin, outbox: FakeOutbox
) -> None:
    origin.judge = refuses(REJECTED, "bad")
    before = (await origin.commit(ANNA, said("before"))).entry
    await outbox.append(ANNA, said("bad"))
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert origin.commits[-1] == (ANNA, ())
    _, entry = running.offered[-1]
    assert entry.snapshot.version > before.snapshot.version
    assert entry.tentative_at == 0.0
    assert (await outbox.pending(ANNA)).floor == entry.snapshot.version


async def test_an_origin_that_goes_away_in_mid_burial_is_asked_again(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    def away_after_the_refusal(user: UserKey, changes: Sequence[Change]) -> None:
        raise REJECTED if changes else UNAVAILABLE

    origin.judge = away_after_the_refusal
    await outbox.append(ANNA, said("bad"))
    async with delivering(outbox, origin) as running:
        await running.delivery.drained()
        origin.judge = refuses(REJECTED, "bad")
        await running.until_empty()
    assert [entry.snapshot.version for _, entry in running.offered] == [1, 2], "before it is buried, and after that"
    [letter] = await outbox.dead_letters(limit=9)
    assert {refusal.id for settled in running.settled for refusal in settled.refused} == {letter.id}


async def test_a_user_of_whom_the_origin_takes_nothing_is_buried_too(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    def judge(user: UserKey, changes: Sequence[Change]) -> None:
        raise REJECTED

    origin.judge = judge
    await outbox.append(ANNA, said("one", "two"))
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert (await outbox.depth()).dead == 2


async def test_what_a_deletion_has_overtaken_is_dropped_and_counted(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    changes = said("one", "two")
    await origin.commit(ANNA, said("before"))
    tombstone = await origin.delete(ANNA)
    await outbox.append(ANNA, changes)
    async with delivering(outbox, origin) as running:
        await running.until_empty()
    assert (running.counters.changes_dropped, running.counters.changes_delivered) == (2, 0)
    assert running.settled[-1].dropped == tuple(change.id for change in changes)
    _, entry = running.offered[-1]
    assert entry.snapshot.is_tombstone
    assert entry.snapshot.version > tombstone.snapshot.version


@pytest.mark.parametrize("operation", ["claim", "ack", "pending"])
@pytest.mark.parametrize("error", [BROKEN, StoreRejectedError("unknown", store="outbox", operation="ack")], ids=repr)
async def test_an_outbox_that_fails_is_asked_again_and_the_origin_has_refused_nothing(
    origin: FakeOrigin, outbox: FakeOutbox, operation: str, error: StoreError
) -> None:
    await outbox.append(ANNA, said("one"))
    outbox.switch.fail(error, operation)
    async with delivering(outbox, origin) as running:
        running.delivery.wake()
        await anyio.sleep(600)
        outbox.switch.heal()
        await running.until_empty()
    assert origin.texts(ANNA) == ["one"]
    assert (await outbox.depth()).dead == 0
    assert not any(settled.refused for settled in running.settled)
    assert running.counters.changes_delivered == 1


async def test_drained_waits_for_what_was_appended_just_before(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    async with delivering(outbox, origin) as running:
        await running.delivery.drained()
        outbox.answers.hang()
        running.delivery.wake()
        await trio.testing.wait_all_tasks_blocked()
        # The claim under way has looked before this was appended.
        await outbox.append(ANNA, said("one"))
        async with anyio.create_task_group() as group:
            group.start_soon(running.delivery.drained)
            await trio.testing.wait_all_tasks_blocked()
            outbox.answers.heal()
        assert (await outbox.depth()).changes == 0


async def test_everybody_who_waits_for_drained_hears_of_it(origin: FakeOrigin, outbox: FakeOutbox) -> None:
    await outbox.append(ANNA, said("one"))
    async with delivering(outbox, origin) as running, anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(running.delivery.drained)
    assert origin.texts(ANNA) == ["one"]


@pytest.mark.parametrize("operation", ["claim", "ack"])
async def test_drained_does_not_wait_for_an_outbox_that_fails(
    origin: FakeOrigin, outbox: FakeOutbox, operation: str
) -> None:
    await outbox.append(ANNA, said("one"))
    outbox.switch.fail(BROKEN, operation)
    async with delivering(outbox, origin) as running:
        with anyio.fail_after(1):
            await running.delivery.drained()
