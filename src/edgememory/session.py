"""Session: one conversation of one user with one agent."""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import anyio

from edgememory.changes import (
    Change,
    FactForgotten,
    FactRemembered,
    MessageAdded,
    NameSet,
    PreferenceSet,
    SummaryAdded,
)
from edgememory.context import context_block
from edgememory.errors import EdgeMemoryError, NotCommittedError, StoreError
from edgememory.ids import next_id
from edgememory.keys import fact_key
from edgememory.limits import (
    LIMITS,
    check_importance,
    check_metadata,
    check_new_preference,
    check_role,
    check_scalar,
    check_text,
    check_time,
)
from edgememory.models import Entry, Pending, Role, Scalar, Snapshot, UserKey
from edgememory.outbox.delivery import Settled
from edgememory.runtime import Runtime
from edgememory.view import View
from edgememory.walk import NOTHING, Read

_log = logging.getLogger("edgememory")

REFRESH_AGE = 60.0
"""A session that opens on an older entry asks the origin for a newer one, in the background. Seconds."""

ADOPTION_POLL = 0.25
"""How often `committed` looks whether another process has delivered. Seconds."""


class Session:
    """Made by `EdgeMemory.session`, used as `async with`; its methods are called from the event loop's thread.

    Methods that change something return at once and never raise for an outage, only for input that breaks a limit
    (`InvalidInputError`). What they change shows in `snapshot` at once.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        user: UserKey,
        *,
        session_id: str,
        agent_id: str | None,
        at_least: int,
        open_timeout: float,
        leave_timeout: float,
    ) -> None:
        self.session_id = session_id
        self._find_runtime = runtime
        self._user = user
        self._agent_id = agent_id
        self._at_least = at_least
        self._open_timeout = open_timeout
        self._leave_timeout = leave_timeout
        self._opened: tuple[Runtime, View] | None = None
        self._read: Read = NOTHING
        self._lost: set[str] = set()
        self._overflowed = False

    # Reading

    @property
    def snapshot(self) -> Snapshot:
        """The user's memory, with every change of this session made."""
        return self._view.snapshot

    @property
    def opened_with(self) -> Read:
        """What was read when it opened: the status, the tier, the age."""
        return self._read

    @property
    def degraded(self) -> bool:
        """Whether nothing that may be trusted has been read yet; what arrives late ends that."""
        trusted = self._view.adopted and self._view.snapshot.version >= self._at_least
        return self._read.status == "degraded" and not trusted

    @property
    def durable(self) -> bool:
        """Whether every change so far would survive this process."""
        queued = self._runtime.writer.queued(self._user)
        return not self._overflowed and not any(change.id in self._view.own for change in queued)

    @property
    def ended(self) -> bool:
        """Whether the user was deleted meanwhile. Every method is a counted no-op from then on."""
        return self._view.ended

    def context(self, *, max_tokens: int = 500) -> str:
        """Return a fenced block for the prompt, at most *max_tokens* (estimated); empty if nothing is known."""
        return context_block(self.snapshot, max_tokens=max_tokens, session_id=self.session_id)

    # Changing

    def add_message(
        self,
        role: Role,
        text: str,
        *,
        at: datetime | None = None,
        interrupted: bool = False,
        metadata: Mapping[str, Scalar] | None = None,
    ) -> None:
        """Keep what was said (1 MiB at most). An empty *text*, as of a turn that only called tools, is no message."""
        if text == "":
            return
        self._make(
            MessageAdded,
            role=check_role(role),
            text=check_text("text", text, LIMITS.message),
            at=check_time("at", at or datetime.now(UTC)),
            interrupted=interrupted,
            agent_id=self._agent_id,
            metadata=check_metadata(metadata),
        )

    def remember(self, text: str, *, importance: int = 5, replaces: str | None = None) -> None:
        """Keep a fact (1 KiB at most). Saying it again is no second fact; *replaces* is the text of one to forget.

        Args:
            text: the fact, in words that will make sense in a later call.
            importance: 0 to 10: which facts stay in the snapshot when there are too many.
            replaces: a fact that no longer holds.
        """
        text = check_text("text", text, LIMITS.fact)
        replaced = None if replaces is None else fact_key(check_text("replaces", replaces, LIMITS.fact))
        self._make(
            FactRemembered,
            key=fact_key(text),
            text=text,
            importance=check_importance(importance),
            replaces=replaced,
        )

    def forget(self, text: str) -> None:
        """Erase the fact with this text, everywhere."""
        self._make(FactForgotten, key=fact_key(check_text("text", text, LIMITS.fact)))

    def set_preference(self, name: str, value: Scalar) -> None:
        """Set a preference; `None` unsets it. At most 256 a user."""
        name = check_text("name", name, LIMITS.preference_name)
        value = check_scalar("value", value, LIMITS.preference_value)
        check_new_preference(name, self.snapshot.preferences)
        self._make(PreferenceSet, name=name, value=value)

    def set_name(self, name: str | None) -> None:
        """Set what the user is called; `None` forgets it."""
        self._make(NameSet, name=None if name is None else check_text("name", name, LIMITS.name))

    def add_summary(self, text: str) -> None:
        """Keep what this conversation was about (8 KiB at most)."""
        self._make(SummaryAdded, text=check_text("text", text, LIMITS.summary))

    def _make(self, kind: Callable[..., Change], **fields: object) -> None:
        runtime, view = self._runtime, self._view
        if view.ended:
            runtime.counters.changes_ignored += 1
            return
        change = kind(
            id=next_id(view.last_id),
            session_id=self.session_id,
            session_started=view.started,
            base=view.base,
            **fields,
        )
        if not runtime.writer.submit(self._user, change):
            self._overflowed = True
            runtime.counters.changes_overflowed += 1
            _log.error("a change was lost: the queue to the outbox is full, or the memory was closed")
            return
        runtime.counters.changes_made += 1
        view.make(change)

    # Opening and leaving

    async def __aenter__(self) -> Self:
        runtime = self._find_runtime()
        view = View(started=round(runtime.now(), 6))
        self._opened = (runtime, view)
        runtime.sessions.add(self._user, self)
        try:
            await self._open(runtime, view)
        except BaseException:
            runtime.sessions.remove(self._user, self)
            raise
        return self

    async def _open(self, runtime: Runtime, view: View) -> None:
        started = anyio.current_time()
        deadline = started + self._open_timeout
        known, pending = False, Pending()
        # Before the outbox is asked: what the writer has appended when the answer comes is in neither otherwise.
        queued = runtime.writer.queued(self._user)
        # An outbox that hangs takes no more than half the time: the caches may well answer.
        with anyio.CancelScope(deadline=started + self._open_timeout / 2):
            try:
                pending = await runtime.outbox.pending(self._user)
                known = True
            except StoreError as error:
                _log.warning("a session opens without what may wait in the outbox: %s", error)
        view.wait_for((*pending.changes, *queued))
        self._at_least = max(self._at_least, pending.floor)
        left = max(0.0, deadline - anyio.current_time())
        read = await runtime.tiered.read(self._user, at_least=self._at_least, timeout=left)
        view.adopted = False  # What came while it was read is no better than what was read.
        self._read = read if known else Read(read.entry, "degraded", read.tier, read.age)
        if read.entry is not None:
            view.open_on(read.entry)
        if self._read.status != "fresh" or read.age > REFRESH_AGE:
            runtime.tiered.refresh(self._user)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        runtime, view = self._runtime, self._view
        try:
            if view.own:
                await self._left_in_the_background(runtime, view)
        finally:
            runtime.sessions.remove(self._user, self)
        if not self.durable:
            _log.error("a session was left before all its changes were durable; they are still being tried")

    async def _left_in_the_background(self, runtime: Runtime, view: View) -> None:
        """Leave in a task that nobody cancels: asyncio's own cancellation goes through every shield."""
        left = anyio.Event()

        async def leave() -> None:
            try:
                with anyio.move_on_after(self._leave_timeout):
                    await self._leave(runtime, view)
            finally:
                left.set()

        try:
            runtime.background.start(leave)
        except EdgeMemoryError:
            return  # closed before its sessions were left
        with anyio.CancelScope(shield=True):
            await left.wait()

    async def _leave(self, runtime: Runtime, view: View) -> None:
        """Wait for the outbox, then show the region what the origin does not know yet. Never wait for the origin."""
        await runtime.writer.written(self._user)
        runtime.delivery.wake()
        try:
            view.wait_for((await runtime.outbox.pending(self._user)).changes)
        except StoreError as error:
            _log.info("only this session's own changes are shown to the caches: %s", error)
        entry = view.tentative(now=runtime.now())
        if entry is not None and not view.ended:
            await runtime.tiered.offer(self._user, entry)

    async def committed(self) -> int:
        """Wait until none of the session's changes waits any more, and return the version that shows them all.

        Give it to `EdgeMemory.session(..., at_least=...)` on another host to read your writes there. Bound the wait
        with `anyio.fail_after`.

        Raises:
            NotCommittedError: some of them were dropped by a deletion, or refused.
            StoreError: the outbox cannot be asked.
        """
        runtime, view = self._runtime, self._view
        await runtime.writer.written(self._user)
        while True:
            pending = await runtime.outbox.pending(self._user)
            if not any(change.id in view.own for change in pending.changes):
                break
            runtime.delivery.wake()
            with anyio.move_on_after(ADOPTION_POLL):
                await runtime.delivery.settled()
        if view.ended:
            raise NotCommittedError("the user was deleted, and what this session changed with them")
        if self._lost or self._overflowed:
            raise NotCommittedError(f"{len(self._lost)} changes of this session were dropped or refused")
        return pending.floor

    # What the read and write paths tell it

    def adopt(self, entry: Entry) -> None:
        """Show a newer entry, with this session's changes made on it. Called by edgememory alone."""
        self._view.adopt(entry)

    def settle(self, settled: Settled) -> None:
        """Hear what became of changes. Called by edgememory alone."""
        refused = [refusal.id for refusal in settled.refused]
        self._lost |= self._view.own.keys() & {*settled.dropped, *refused}
        self._view.unmake(refused)

    @property
    def _runtime(self) -> Runtime:
        return self._entered[0]

    @property
    def _view(self) -> View:
        return self._entered[1]

    @property
    def _entered(self) -> tuple[Runtime, View]:
        if self._opened is None:
            raise EdgeMemoryError("the session is not open: use `async with memory.session(...) as session`")
        return self._opened
