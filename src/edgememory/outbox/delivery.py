"""From the outbox to the origin, in the background, until the origin has acknowledged every change."""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence

import anyio
from msgspec import Struct

from edgememory.apply import overlay
from edgememory.background import Background
from edgememory.changes import Change
from edgememory.errors import EdgeMemoryError, StoreBlockedError, StoreError, StoreRejectedError
from edgememory.models import Claim, Committed, Entry, Refused, UserKey
from edgememory.outbox.backoff import LONGEST, backoff
from edgememory.store import OriginStore, Outbox
from edgememory.telemetry import Counters
from edgememory.tier import store_timeout

_log = logging.getLogger("edgememory")

FAILURES_OF_A_BATCH = 2
"""After as many, its changes go one at a time, until that succeeds."""


class DeliveryPolicy(Struct, frozen=True, kw_only=True):
    """How delivery paces itself. Seconds, and counts."""

    lease: float = 30.0
    """A crashed deliverer's changes are adopted after this long."""
    poll: float = 15.0
    """How often to look for what others left behind."""
    commit_timeout: float = 5.0
    concurrency: int = 1
    """Commits at once. One leaves the other of an agent's two connections to readers."""
    claims: int = 64
    """Users whose changes are held at once, waiting between tries included."""
    blocked_pause: float = 30.0
    """The longest wait between tries while an operator must act."""


class Settled(Struct, frozen=True):
    """What became of some of a user's changes. Told at least twice: when the origin has said so, and the outbox too."""

    user: UserKey
    dropped: tuple[str, ...]
    refused: tuple[Refused, ...]


class Delivery:
    """Claims users' changes under leases, commits them, offers the new entries to the caches, acknowledges.

    A change is removed from the outbox only after the origin has answered for it. A batch that is refused or has
    failed twice is divided: one bad change holds up no other. What the origin will never take becomes a dead letter.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        origin: OriginStore,
        offer: Callable[[UserKey, Entry], Awaitable[object]],
        background: Background,
        counters: Counters,
        policy: DeliveryPolicy | None = None,
        on_settled: Callable[[Settled], None] = lambda settled: None,
        on_delivered: Callable[[Sequence[Change]], None] = lambda changes: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._outbox = outbox
        self._origin = origin
        self._offer = offer
        self._background = background
        self._counters = counters
        self._policy = policy or DeliveryPolicy()
        self._on_settled = on_settled
        self._on_delivered = on_delivered
        self._now = now
        self._commits = anyio.CapacityLimiter(self._policy.concurrency)
        self._wanted = anyio.Event()
        self._settled = anyio.Event()
        self._recovered = anyio.Event()
        self._idle = anyio.Event()
        self._failures: dict[UserKey, int] = {}
        self._setbacks = 0
        self._held = 0
        self.blocked: StoreBlockedError | None = None
        """Why nothing can be delivered until an operator acts; `None` while delivery works."""

    def wake(self) -> None:
        """Say that there may be something to deliver."""
        self._wanted.set()

    async def settled(self) -> None:
        """Wait until the origin has answered for some change."""
        await self._settled.wait()

    async def drained(self) -> bool:
        """Wait until nothing is left that this process can deliver now, or something fails; say which."""
        idle, failed = self._idle, self._setbacks
        self.wake()
        await idle.wait()
        return failed == self._setbacks

    async def run(self) -> None:
        """Deliver for ever; begins by adopting what earlier processes left."""
        failures = 0
        while True:
            self._wanted = anyio.Event()
            try:
                claims = await self._claim()
            except Exception as error:  # whatever it is: if this task ended, nothing would ever be delivered again
                failures += 1
                expected = isinstance(error, EdgeMemoryError)
                _log.warning("cannot look into the outbox: %s", error, exc_info=not expected)
                self._setbacks += 1
                self._say_idle()
                await anyio.sleep(backoff(failures))
                continue
            failures = 0
            for claim in claims:
                self._held += 1
                self._background.start(self._deliver, claim)
            if not claims:
                # Whoever has woken this meanwhile may have appended what the claim was too early to see.
                if self._held == 0 and not self._wanted.is_set():
                    self._say_idle()
                with anyio.move_on_after(self._policy.poll * random.uniform(0.8, 1.2)):
                    await self._wanted.wait()

    async def _claim(self) -> Sequence[Claim]:
        room = self._policy.claims - self._held
        return await self._outbox.claim(lease=self._policy.lease, limit=room) if room > 0 else ()

    async def _deliver(self, claim: Claim) -> None:
        """Try until everything is settled, or the lease is over and somebody else may."""
        lease_ends = anyio.current_time() + self._policy.lease
        try:
            rest: Sequence[Change] = claim.changes
            while rest := await self._attempt(claim, rest, lease_ends):
                longest = self._policy.blocked_pause if self.blocked else LONGEST
                pause = backoff(self._failures.get(claim.user, 1), longest=longest)
                if anyio.current_time() + pause >= lease_ends:
                    return
                with anyio.move_on_after(pause):
                    await self._recovered.wait()
        finally:
            self._held -= 1
            self.wake()

    async def _attempt(self, claim: Claim, changes: Sequence[Change], lease_ends: float) -> Sequence[Change]:
        """Commit *changes* and return those that are still to be delivered.

        At first all at once; after two failures one of them, and twice as many after each success. In random order
        then: a bad one must not stand before the same others every time. What is refused is tried again in halves.
        """
        left, at_once = list(changes), len(changes)
        if self._failures.get(claim.user, 0) >= FAILURES_OF_A_BATCH:
            left, at_once = random.sample(left, at_once), 1
        failed: list[Change] = []
        failures = 0
        while left and failures < FAILURES_OF_A_BATCH and anyio.current_time() < lease_ends:
            batch = left[:at_once]
            try:
                async with self._commits:
                    is_settled = await self._commit(claim, batch)
            except Exception as error:  # also a bug in a store: it would hold up all of the user's other changes
                self._failed(claim.user, error)
                failed += batch
                failures += 1
                del left[: len(batch)]
                at_once = 1
                continue
            if is_settled:
                del left[: len(batch)]
            at_once = 2 * len(batch) if is_settled else len(batch) // 2
        return failed + left

    async def _commit(self, claim: Claim, changes: Sequence[Change]) -> bool:
        """Say whether they are settled: taken, or refused for good. Of several that are refused, nobody knows which."""
        try:
            committed = await self._ask_origin(claim.user, changes)
        except StoreRejectedError as error:
            if len(changes) == 1:
                await self._bury(claim, changes[0], error)
            return len(changes) == 1
        await self._settle(claim, changes, committed)
        return True

    async def _settle(self, claim: Claim, changes: Sequence[Change], committed: Committed) -> None:
        ids = {change.id for change in changes}
        refused = {refusal.id for refusal in committed.refused}
        # First of all: a session must not lay what was refused over the new entry and show that to the region, and who
        # waits until the outbox is empty must know by then what became of the changes.
        settled = Settled(claim.user, committed.dropped, committed.refused)
        self._on_settled(settled)
        await self.publish(claim.user, committed.entry, settled=ids)
        for refusal in committed.refused:
            await self._outbox.reject(claim, (refusal.id,), refusal.reason)
        taken = [change.id for change in changes if change.id not in refused]
        await self._outbox.ack(claim, taken, committed.entry.snapshot.version)
        if refused:
            await self._raise_version(claim)
        self._counters.changes_rejected += len(refused)
        self._counters.changes_dropped += len(committed.dropped)
        self._counters.changes_delivered += len(taken) - len(committed.dropped)
        gone = refused.union(committed.dropped)
        self._succeeded(settled, [change for change in changes if change.id not in gone])

    async def _bury(self, claim: Claim, change: Change, error: StoreRejectedError) -> None:
        settled = Settled(claim.user, (), (Refused(change.id, str(error)),))
        self._on_settled(settled)
        await self._raise_version(claim, change.id)
        _log.error("the origin refuses change %s, now a dead letter: %s", change.id, error)
        await self._outbox.reject(claim, (change.id,), str(error))
        await self._raise_version(claim)
        self._counters.changes_rejected += 1
        self._succeeded(settled)

    async def _raise_version(self, claim: Claim, *refused: str) -> None:
        """Offer an entry that is newer than any that shows what was *refused*: no cache may go on showing it.

        Before the outbox buries it, since this process may die in between; and after that, since whoever leaves a
        session meanwhile has seen it wait.
        """
        try:
            committed = await self._ask_origin(claim.user, ())
        except StoreRejectedError:
            return  # The origin takes nothing of this user, so it has no entry to offer either.
        await self.publish(claim.user, committed.entry, settled=set(refused))
        await self._outbox.ack(claim, (), committed.entry.snapshot.version)

    async def _ask_origin(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        with store_timeout(self._policy.commit_timeout, store="origin", operation="commit"):
            return await self._origin.commit(user, changes)

    async def publish(self, user: UserKey, entry: Entry, *, settled: Collection[str] = ()) -> None:
        """Offer the new entry, with what still waits laid over it, once to each cache."""
        try:
            waiting = (await self._outbox.pending(user)).changes
        except StoreError:
            waiting = ()
        rest = [change for change in waiting if change.id not in settled]
        await self._offer(user, overlay(entry, rest, now=self._now()))

    def _say_idle(self) -> None:
        self._idle.set()
        self._idle = anyio.Event()

    def _failed(self, user: UserKey, error: Exception) -> None:
        self._failures[user] = self._failures.get(user, 0) + 1
        self._setbacks += 1
        self._counters.delivery_failures += 1
        self._say_idle()
        if isinstance(error, StoreBlockedError):
            if self.blocked is None:
                _log.error("delivery is blocked until somebody acts: %s", error)
            self.blocked = error
        elif isinstance(error, EdgeMemoryError):
            _log.info("delivery failed, to be tried again: %s", error)
        else:
            self._counters.background_errors += 1
            _log.error("delivery failed as no store may, to be tried again: %s", error, exc_info=error)

    def _succeeded(self, settled: Settled, delivered: Sequence[Change] = ()) -> None:
        # Once more, for a session that has opened meanwhile on what the outbox then still held.
        self._on_settled(settled)
        if self._failures.pop(settled.user, None) is not None:
            self._recovered.set()
            self._recovered = anyio.Event()
        self.blocked = None
        self._settled.set()
        self._settled = anyio.Event()
        self._on_delivered(delivered)
