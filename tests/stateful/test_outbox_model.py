"""Each outbox against a plain list of changes, over any order of calls."""

import asyncio
import contextlib
import tempfile
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)
from redis import Redis

from edgememory.changes import Change
from edgememory.lab.servers import RedisServer
from edgememory.models import Claim, Pending, UserKey
from edgememory.outbox.file import FileOutbox
from edgememory.outbox.memory import MemoryOutbox
from edgememory.outbox.redis import RedisOutbox
from edgememory.outbox.workers import WorkersOutbox
from edgememory.testing.clock import ManualClock
from edgememory.testing.outbox_contract import InspectableOutbox, said
from tests.servers import running
from tests.simulation.steps import cancelled_at
from tests.worker.server import TOKEN, WorkerServer

USERS = [UserKey("a", "foo"), UserKey("a", "foobar"), UserKey("b", "foo")]
CHANGES = [said(str(number)) for number in range(6)]
NAMES = {change.id: f"change {number}" for number, change in enumerate(CHANGES)}
VERSIONS = st.integers(0, 5)
LEASES = st.sampled_from([1.0, 10.0])
some_changes = st.lists(st.sampled_from(CHANGES), max_size=4)


@dataclass(slots=True)
class Lease:
    token: str
    taken: float
    seconds: float

    def holds(self, now: float) -> bool:
        return now < self.taken + self.seconds and self.taken < now + self.seconds


async def cut_short(work: Coroutine[Any, Any, object], awaits: int) -> None:
    """Run *work*, and cancel it where it waits for the so-manieth time."""
    task = asyncio.current_task()
    assert task is not None
    with contextlib.suppress(asyncio.CancelledError):
        await cancelled_at(awaits, task.cancel, work)
    task.uncancel()


class OutboxMachine(RuleBasedStateMachine):
    """The model: a list of (user, change), a floor and at most one lease a user, a list of dead letters."""

    claims = Bundle("claims")
    takes_turns: ClassVar[bool] = True
    """What was asked before, by whom ever, is done before."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.waiting: list[tuple[UserKey, Change]] = []
        self.appended_at: dict[tuple[UserKey, str], float] = {}
        self.floors = dict.fromkeys(USERS, 0)
        self.leases: dict[UserKey, Lease] = {}
        self.dead: list[tuple[UserKey, str, str]] = []
        self.outbox = self.open()

    def open(self) -> InspectableOutbox:
        raise NotImplementedError

    def teardown(self) -> None:
        self.runner.run(self.outbox.aclose())
        self.runner.close()

    def of(self, user: UserKey) -> list[Change]:
        return sorted((change for owner, change in self.waiting if owner == user), key=lambda change: change.id)

    def settle(self, claim: Claim, done: list[str]) -> None:
        self.waiting = [(user, change) for user, change in self.waiting if user != claim.user or change.id not in done]
        lease = self.leases.get(claim.user)
        settled = not any(change in self.of(claim.user) for change in claim.changes)
        if lease is not None and lease.token == claim.token and settled:
            del self.leases[claim.user]

    @rule(user=st.sampled_from(USERS), changes=some_changes)
    def append(self, user: UserKey, changes: list[Change]) -> None:
        self.clock.advance(0.001)
        pending = self.runner.run(self.outbox.append(user, changes))
        for change in changes:
            if (user, change) not in self.waiting:
                self.waiting.append((user, change))
                self.appended_at[user, change.id] = self.clock.now()
        assert pending == Pending(tuple(self.of(user)), self.floors[user])

    @precondition(lambda self: self.takes_turns)
    @rule(user=st.sampled_from(USERS), changes=some_changes, awaits=st.integers(1, 8))
    def dies_while_it_appends(self, user: UserKey, changes: list[Change], awaits: int) -> None:
        """All of them are there afterwards, or none: nobody heard an answer."""
        self.clock.advance(0.001)
        self.runner.run(cut_short(self.outbox.append(user, changes), awaits))
        self.reopen()
        fresh = [change for change in dict.fromkeys(changes) if (user, change) not in self.waiting]
        there = self.runner.run(self.outbox.pending(user)).changes
        assert {change in there for change in fresh} != {False, True}
        if set(fresh) <= set(there):
            self.waiting += [(user, change) for change in fresh]
            self.appended_at |= {(user, change.id): self.clock.now() for change in fresh}

    @precondition(lambda self: self.takes_turns)
    @rule(claim=claims, picked=some_changes, version=VERSIONS, awaits=st.integers(1, 8))
    def dies_while_it_acknowledges(self, claim: Claim, picked: list[Change], version: int, awaits: int) -> None:
        """They are gone and the floor is raised, or neither; whoever tries again gets on."""
        self.clock.advance(0.001)
        done = [change.id for change in picked if change in claim.changes]
        before = self.runner.run(self.outbox.pending(claim.user))
        self.runner.run(cut_short(self.outbox.ack(claim, done, version), awaits))
        self.reopen()
        after = self.runner.run(self.outbox.pending(claim.user))
        acknowledged = Pending(
            tuple(change for change in before.changes if change.id not in done), max(before.floor, version)
        )
        assert after in (before, acknowledged)
        self.ack(claim, picked, version)

    @precondition(lambda self: self.takes_turns)
    @rule(claim=claims, picked=some_changes, awaits=st.integers(1, 8))
    def dies_while_it_rejects(self, claim: Claim, picked: list[Change], awaits: int) -> None:
        """They are all dead letters, or none is; whoever tries again makes no second letter."""
        self.clock.advance(0.001)
        held = [change.id for change in self.of(claim.user)]
        refused = [change.id for change in dict.fromkeys(picked) if change in claim.changes and change.id in held]
        self.runner.run(cut_short(self.outbox.reject(claim, refused, "no"), awaits))
        self.reopen()
        letters = len(self.runner.run(self.outbox.dead_letters(limit=1_000))) - len(self.dead)
        assert letters in (0, len(refused))
        self.reject(claim, picked)

    @rule(target=claims, lease=LEASES, limit=st.integers(1, 3))
    def claim(self, lease: float, limit: int) -> object:
        self.clock.advance(0.001)
        now = self.clock.now()
        free = [
            user for user in USERS if self.of(user) and (user not in self.leases or not self.leases[user].holds(now))
        ]
        claims = self.runner.run(self.outbox.claim(lease=lease, limit=limit))
        assert len(claims) == min(limit, len(free))
        assert {claim.user for claim in claims} <= set(free)
        for claim in claims:
            assert list(claim.changes) == self.of(claim.user)
            self.leases[claim.user] = Lease(claim.token, now, lease)
        return multiple(*claims)

    @rule(claim=claims, picked=some_changes, version=VERSIONS)
    def ack(self, claim: Claim, picked: list[Change], version: int) -> None:
        self.clock.advance(0.001)
        done = [change.id for change in picked if change in claim.changes]
        self.runner.run(self.outbox.ack(claim, done, version))
        self.floors[claim.user] = max(self.floors[claim.user], version)
        self.settle(claim, done)

    @rule(claim=consumes(claims), version=VERSIONS)
    def ack_all(self, claim: Claim, version: int) -> None:
        self.ack(claim, list(claim.changes), version)

    @rule(claim=claims, picked=some_changes)
    def reject(self, claim: Claim, picked: list[Change]) -> None:
        self.clock.advance(0.001)
        refused = [change.id for change in picked if change in claim.changes]
        self.runner.run(self.outbox.reject(claim, refused, "no"))
        held = [change.id for change in self.of(claim.user)]
        for id in dict.fromkeys(refused):
            if id in held:
                self.dead.append((claim.user, id, "no"))
        self.settle(claim, refused)

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([-0.5, -5.0, -1000.0]))
    def the_clock_is_set_back(self, seconds: float) -> None:
        self.clock.step(seconds)

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.outbox.aclose())
        self.outbox = self.open()

    @invariant()
    def pending_is_the_list(self) -> None:
        for user in USERS:
            pending = self.runner.run(self.outbox.pending(user))
            assert [NAMES[change.id] for change in pending.changes] == [NAMES[change.id] for change in self.of(user)]
            assert pending.floor == self.floors[user]

    @invariant()
    def depth_counts_the_list(self) -> None:
        depth = self.runner.run(self.outbox.depth())
        assert (depth.changes, depth.users) == (len(self.waiting), len({user for user, _ in self.waiting}))
        oldest = min((self.appended_at[user, change.id] for user, change in self.waiting), default=None)
        age = None if oldest is None else max(0.0, self.clock.now() - oldest)
        assert depth.oldest_age == pytest.approx(age, abs=1e-6)  # what a double can say of the year 2025

    @invariant()
    def the_dead_letters_are_the_refused(self) -> None:
        letters = self.runner.run(self.outbox.dead_letters(limit=1_000))
        assert [(letter.user, letter.id, letter.error) for letter in reversed(letters)] == self.dead


class FileOutboxMachine(OutboxMachine):
    def open(self) -> InspectableOutbox:
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory()
        return FileOutbox(Path(self.folder.name) / "outbox.db", now=self.clock.now)

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


class MemoryOutboxMachine(OutboxMachine):
    def open(self) -> InspectableOutbox:
        if not hasattr(self, "storage"):
            self.storage = MemoryOutbox(now=self.clock.now)
        return self.storage


class RedisOutboxMachine(OutboxMachine):
    url: ClassVar[str]

    def open(self) -> InspectableOutbox:
        if not hasattr(self, "outbox"):
            with Redis.from_url(self.url) as raw:
                raw.flushall()
        return RedisOutbox(self.url, assume_durable=True, now=self.clock.now)


class WorkersOutboxMachine(OutboxMachine):
    worker: ClassVar[WorkerServer]
    takes_turns = False

    def open(self) -> InspectableOutbox:
        if not hasattr(self, "outbox"):
            self.worker.empty_outboxes()
        return WorkersOutbox(self.worker.url, TOKEN, key_secret="sixteen-characters", now=self.clock.now)

    @invariant()
    def the_dead_letters_are_the_refused(self) -> None:
        """In the order of their times, since they are in many objects: a clock that was set back shows in it."""
        letters = self.runner.run(self.outbox.dead_letters(limit=1_000))
        assert Counter((letter.user, letter.id, letter.error) for letter in letters) == Counter(self.dead)


@pytest.fixture(scope="module", autouse=True)
def _servers(shared_worker: WorkerServer) -> Iterator[None]:
    WorkersOutboxMachine.worker = shared_worker
    with running(RedisServer()) as server:
        RedisOutboxMachine.url = server.url
        yield


TestFileOutbox = FileOutboxMachine.TestCase
TestMemoryOutbox = MemoryOutboxMachine.TestCase
TestRedisOutbox = RedisOutboxMachine.TestCase
TestFileOutbox.settings = TestRedisOutbox.settings = settings(max_examples=settings().max_examples // 3)
TestWorkersOutbox = WorkersOutboxMachine.TestCase
TestWorkersOutbox.settings = settings(
    max_examples=settings().max_examples // 10,
    stateful_step_count=20,
    phases=[phase for phase in Phase if phase is not Phase.shrink],  # each request to workerd takes milliseconds
)
