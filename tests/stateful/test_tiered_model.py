"""TieredStore against a dict: whatever happens in between, a healthy read says what the dict says, or something true.

The model is the list of states that the origin went through. A read must return one of them, no older than the rules
allow, never behind an earlier read of the same process, and never what a deletion removed from cleared stores.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgememory.background import Background
from edgememory.errors import StoreUnavailableError
from edgememory.freshness import Policy
from edgememory.models import UserKey
from edgememory.stores.memory import InMemoryStore
from edgememory.telemetry import Counters
from edgememory.testing.clock import ManualClock
from edgememory.testing.talk import Talk
from edgememory.tier import NearTier, Tier
from edgememory.tiered import TieredStore
from tests.unit.fakes import FakeCache, FakeHost, FakeOrigin

POLICY = Policy(ttl=10, stale_while_revalidate=30, missing_ttl=3, near_ttl=2, near_keep=6)
AWAY = StoreUnavailableError("connection refused", store="store", operation="any")
USERS = [UserKey("a", "x"), UserKey("a", "y"), UserKey("b", "x")]
CACHES = 2
HOSTS = (0, 0, 1)
"""Of each process: two share one, and the third hears of the others by the region's caches alone."""
users = st.sampled_from(USERS)
processes = st.integers(0, len(HOSTS) - 1)


class Process:
    """A TieredStore of its own on the shared caches and origin."""

    def __init__(self, machine: "TieredMachine", host: FakeHost) -> None:
        self.host = host
        self.counters = Counters()
        self.background = Background(self.counters)
        clock = machine.clock
        self.near = InMemoryStore(monotonic=clock.monotonic)
        self.store = TieredStore(
            background=self.background,
            near=self.near,
            caches=[
                NearTier(name="host", store=host, timeout=1e6, monotonic=clock.monotonic),
                *(
                    Tier(name=f"cache-{number}", store=cache, timeout=1e6, monotonic=clock.monotonic)
                    for number, cache in enumerate(machine.caches)
                ),
            ],
            origin=Tier(name="origin", store=machine.origin, timeout=1e6, monotonic=clock.monotonic),
            policy=POLICY,
            stale_wait=1e6,
            now=clock.now,
            monotonic=clock.monotonic,
            counters=self.counters,
        )
        self.floors: dict[UserKey, int] = {}


class TieredMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.origin = FakeOrigin(now=self.clock.now)
        self.caches = [FakeCache() for _ in range(CACHES)]
        self.hosts = [FakeHost(monotonic=self.clock.monotonic) for _ in set(HOSTS)]
        for cache in self.caches:
            cache._monotonic = self.clock.monotonic
        self.truth: dict[UserKey, list[tuple[float, int, frozenset[str]]]] = {
            user: [(0.0, 0, frozenset())] for user in USERS
        }
        self.erased: dict[UserKey, tuple[float, int]] = {}
        self.said = 0
        self.processes = [Process(self, self.hosts[host]) for host in HOSTS]
        for process in self.processes:
            self.run(process.background.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def _settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def teardown(self) -> None:
        for process in self.processes:
            self.run(process.background.aclose())
            assert process.counters.background_errors == 0
        self.loop.close()

    def _note(self, user: UserKey) -> None:
        state = self.origin.state(user)
        texts = frozenset(fact.text for fact in state.facts)
        self.truth[user].append((self.clock.monotonic(), state.version, texts))

    @rule(process=processes, user=users)
    def write(self, process: int, user: UserKey) -> None:
        self.said += 1
        base = self.origin.state(user).version
        committed = self.run(self.origin.commit(user, [Talk(base=base).remembers(f"fact {self.said}")]))
        self._note(user)
        self.run(self.processes[process].store.offer(user, committed.entry))

    @rule(user=users)
    def write_elsewhere(self, user: UserKey) -> None:
        """Another region's commit: nobody here hears of it."""
        self.said += 1
        base = self.origin.state(user).version
        self.run(self.origin.commit(user, [Talk(base=base).remembers(f"fact {self.said}")]))
        self._note(user)

    @rule(process=processes, user=users)
    def delete(self, process: int, user: UserKey) -> None:
        tombstone = self.run(self.origin.delete(user))
        self._note(user)
        outcomes = self.run(self.processes[process].store.offer(user, tombstone))
        if all(error is None for error in outcomes.values()):
            self.erased[user] = (self.clock.monotonic(), tombstone.snapshot.version)

    @rule(number=st.integers(0, CACHES - 1))
    def restart_a_cache(self, number: int) -> None:
        """It forgets its tombstones as well: from then on nothing is promised of earlier deletions."""
        for user in USERS:
            if self.caches[number].peek(user) is not None:
                self.caches[number]._drop(user)
        self.erased.clear()

    @rule(process=processes)
    def restart_a_process(self, process: int) -> None:
        """A new one on the same host: it knows what the host knows."""
        self.run(self.processes[process].background.aclose())
        self.processes[process] = Process(self, self.hosts[HOSTS[process]])
        self.run(self.processes[process].background.open())

    @rule(process=processes, user=users)
    def leave_a_session(self, process: int, user: UserKey) -> None:
        """It offers what it was opened on, and confirms nothing by that."""
        reader = self.processes[process]
        read = self.run(reader.store.read(user))
        if read.entry is not None:
            self.run(reader.store.offer(user, read.entry))

    @rule(number=st.integers(0, CACHES + len(set(HOSTS))))
    def outage(self, number: int) -> None:
        store = (self.origin, *self.caches, *self.hosts)[number]
        store.switch.fail(AWAY, "get", "put")

    @rule()
    def heal(self) -> None:
        for store in (*self.caches, *self.hosts, self.origin):
            store.switch.heal()
        self.clock.advance(31)  # longer than any breaker's pause

    @rule(seconds=st.sampled_from([0.5, 2, 3, 6, 10, 40]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(process=processes, user=users, settles=st.booleans())
    def read(self, process: int, user: UserKey, settles: bool) -> None:
        reader = self.processes[process]
        read = self.run(reader.store.read(user))
        texts = frozenset(fact.text for fact in read.snapshot.facts)
        known = {(version, shown) for _, version, shown in self.truth[user]}
        assert read.entry is None or (read.snapshot.version, texts) in known, "it was never true"
        if read.status != "degraded":
            assert read.snapshot.version >= reader.floors.get(user, 0), "it went back"
            reader.floors[user] = read.snapshot.version
            self._check_age(user, read.status, read.snapshot.version)
        if texts:
            self._check_deletion(user, read.snapshot.version)
        if settles:
            self.run(self._settle())

    def _check_age(self, user: UserKey, status: str, version: int) -> None:
        longest = POLICY.ttl if status == "fresh" else POLICY.ttl + POLICY.stale_while_revalidate
        is_tombstone = self.erased_versions(user) and version in self.erased_versions(user)
        ended = [at for at, newer, _ in self.truth[user] if newer > version]
        if ended and not is_tombstone:
            assert self.clock.monotonic() - min(ended) <= longest + 1e-6, "it was too old"

    def erased_versions(self, user: UserKey) -> set[int]:
        return {version for _, version, shown in self.truth[user] if not shown}

    def _check_deletion(self, user: UserKey, version: int) -> None:
        at, tombstone = self.erased.get(user, (0.0, 0))
        if self.clock.monotonic() >= at + POLICY.near_keep and version < tombstone:
            raise AssertionError("it was deleted")

    @precondition(lambda self: all(s.switch.error is None for s in (*self.caches, *self.hosts, self.origin)))
    @rule(process=processes, user=users)
    def converge(self, process: int, user: UserKey) -> None:
        """Healthy, and a ttl later: two reads on, everything that was read says what the origin says."""
        self.clock.advance(31 + POLICY.ttl)
        reader = self.processes[process]
        for _ in range(2):
            self.run(reader.store.read(user))
            self.run(self._settle())
        now = self.origin.state(user).version
        read = self.run(reader.store.read(user))
        assert (read.status, read.snapshot.version) == ("fresh", now)
        for cache in (*self.caches, reader.host):
            entry = self.run(cache.get(user))
            assert entry is not None
            assert entry.snapshot.version == now

    @invariant()
    def no_load_is_stuck(self) -> None:
        self.run(self._settle())
        for process in self.processes:
            assert not process.store._reads._flights
            assert not process.store._refreshes._flights


TestTieredModel = TieredMachine.TestCase
