"""How a session opens, queues its changes and is left: the part of it that waits for others."""

import logging
from collections.abc import Callable

import anyio

from edgememory.changes import Change, FactsUsed, MessageAdded, SessionEnded
from edgememory.errors import EdgeMemoryError, NotCommittedError, NotDurableError, StoreError
from edgememory.ids import next_id
from edgememory.look import look
from edgememory.models import Entry, UserKey
from edgememory.outbox.delivery import Settled
from edgememory.outbox.writer import Appended
from edgememory.recall.language import Language
from edgememory.recall.recollection import Recollection
from edgememory.runtime import Runtime
from edgememory.view import View
from edgememory.walk import NOTHING, Read

_log = logging.getLogger("edgememory")

ADOPTION_POLL = 0.25
"""How often `committed` looks whether another process has delivered. Seconds."""


class Stay:
    """One session's time with a `Runtime`, from opening to leaving; what it sees is its `View`."""

    def __init__(self, runtime: Runtime, user: UserKey, *, session_id: str, language: Language, extract: bool) -> None:
        self.view = View(started=round(runtime.now(), 6))
        self.recollection = Recollection(runtime, user, self.view, language)
        self.read: Read = NOTHING
        self._runtime = runtime
        self._user = user
        self._session_id = session_id
        self._language: Language = language
        self._extract = extract
        self._at_least = 0
        self._lost: set[str] = set()
        self._overflowed = False

    @property
    def degraded(self) -> bool:
        trusted = self.view.adopted and self.view.snapshot.version >= self._at_least
        return self.read.status == "degraded" and not trusted

    @property
    def durable(self) -> bool:
        queued = self._runtime.writer.queued(self._user)
        return not self._overflowed and not any(change.id in self.view.own for change in queued)

    def ignores(self) -> bool:
        """Say whether the session has ended, and count what it is asked to do all the same."""
        if self.view.ended:
            self._runtime.counters.changes_ignored += 1
        return self.view.ended

    def change(self, kind: Callable[..., Change], **fields: object) -> None:
        """Make a change of this session: later than all that it has seen."""
        view = self.view
        self.make(
            kind(
                id=next_id(view.last_id),
                session_id=self._session_id,
                session_started=view.started,
                base=view.base,
                **fields,
            )
        )

    def make(self, change: Change) -> None:
        """Show a change, and queue it for the outbox; what no longer fits is counted and lost."""
        if not self._runtime.writer.submit(self._user, change):
            self._overflowed = True
            self._runtime.counters.changes_overflowed += 1
            _log.error("a change was lost: the queue to the outbox is full, or the memory was closed")
            return
        self._runtime.counters.changes_made += 1
        self.view.make(change)

    async def open(self, *, at_least: int, timeout: float) -> None:
        """Read, in *timeout* seconds; what comes later is adopted."""
        self._runtime.sessions.add(self._user, self)
        try:
            seen = await look(self._runtime, self._user, at_least=at_least, timeout=timeout)
        except BaseException:
            self._runtime.sessions.remove(self._user, self)
            raise
        self.view.adopted = False  # What came while it was read is no better than what was read.
        self._at_least = seen.at_least
        self.read = seen.read
        self.view.wait_for(seen.waiting)
        if seen.read.entry is not None:
            self.view.open_on(seen.read.entry)
        self._runtime.sessions.first.set()

    async def leave(self, *, timeout: float) -> None:
        """Wait until others can see the changes: in the outbox, and in the region's caches. Never for the origin."""
        self._conclude()
        try:
            if self.view.own:
                await self._leave_uncancelled(timeout)
        finally:
            self._runtime.sessions.remove(self._user, self)
        if not self.durable:
            fate = "some were lost" if self._overflowed else "they are still being tried"
            _log.error("a session was left before all its changes were durable; %s", fate)

    def _conclude(self) -> None:
        """Make the changes that concern the whole session: which facts were of use, and that it awaits extraction."""
        if self.view.ended:
            return
        if self.recollection.used:
            self.change(FactsUsed, keys=tuple(self.recollection.used))
        if self._extract and self._runtime.extraction is not None and self._somebody_spoke():
            self.change(SessionEnded, language=self._language)

    def _somebody_spoke(self) -> bool:
        return any(isinstance(change, MessageAdded) and change.role == "user" for change in self.view.own.values())

    async def _leave_uncancelled(self, timeout: float) -> None:
        """Leave in a task that nobody cancels: asyncio's own cancellation goes through every shield."""
        left = anyio.Event()
        # Here, not in the task: before that runs, the writer may begin the append whose answer is wanted.
        appended, seen = self._runtime.writer.appended(self._user), self.view.base

        async def leave() -> None:
            try:
                with anyio.move_on_after(timeout):
                    await self._hand_over(appended, seen)
            finally:
                left.set()

        try:
            self._runtime.background.start(leave)
        except EdgeMemoryError:
            return  # closed before its sessions were left
        with anyio.CancelScope(shield=True):
            await left.wait()

    async def _hand_over(self, appended: Appended, seen: int | None) -> None:
        """Offer the tentative entry, for one request to the outbox: an append that was due in any case, or `pending`.

        What waits is laid over an entry of a version that was *seen* before the outbox was asked. So what becomes of
        the changes after that does no harm: whether they are taken or refused, the origin's version rises above it.
        What a deletion has overtaken is left out (`survives`), or the session has ended. What was queued since is left
        to whoever leaves after it.
        """
        runtime = self._runtime
        pending = await appended.wait()
        runtime.delivery.wake()
        entry = self.view.entry
        try:
            if pending is None or self.view.base != seen:
                pending = await runtime.outbox.pending(self._user)
        except StoreError as error:
            _log.info("the caches are not shown what was said, since nobody knows what waits: %s", error)
            return
        if entry is not None and not self.view.ended:
            await runtime.tiered.offer(self._user, self.view.tentative(entry, pending.changes, now=runtime.now()))

    async def committed(self) -> int:
        """Wait until none of the changes waits any more; see `Session.committed`."""
        runtime, view = self._runtime, self.view
        try:
            await runtime.writer.appended(self._user).wait()
        except NotDurableError as error:
            raise NotCommittedError("the memory was closed before they reached the outbox") from error
        while True:
            if runtime.writer.ended:  # To ask a closed outbox would open it again.
                raise NotCommittedError("the memory was closed: what the origin does not have yet waits in the outbox")
            pending = await runtime.outbox.pending(self._user)
            if not any(change.id in view.own for change in pending.changes):
                break
            runtime.delivery.wake()
            with anyio.move_on_after(ADOPTION_POLL):
                await runtime.delivery.settled()
        if view.ended:
            raise NotCommittedError("the user was deleted, and what this session changed with them")
        if self._overflowed:
            raise NotCommittedError(
                "some changes of this session never reached the outbox: its queue was full or closed"
            )
        if self._lost:
            raise NotCommittedError(f"{len(self._lost)} changes of this session were dropped or refused")
        return pending.floor

    def adopt(self, entry: Entry) -> None:
        """Show a newer entry, with the changes made on it."""
        self.view.adopt(entry)

    def settle(self, settled: Settled) -> None:
        """Hear what became of changes."""
        refused = [refusal.id for refusal in settled.refused]
        self._lost |= self.view.own.keys() & {*settled.dropped, *refused}
        self.view.unmake(refused)
