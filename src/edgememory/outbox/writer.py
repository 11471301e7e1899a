"""From a session's plain method calls to the outbox: a bounded queue, and one task that makes it durable."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio
import msgspec

from edgememory.changes import Change
from edgememory.errors import EdgeMemoryError, NotDurableError
from edgememory.models import Pending, UserKey
from edgememory.outbox.backoff import backoff
from edgememory.store import Outbox

_log = logging.getLogger("edgememory")

QUEUE_BYTES = 4 * 1024 * 1024
"""Of encoded changes, for all sessions of a process together."""


@dataclass(slots=True, eq=False)
class _Queue:
    """One user's changes that are not durable yet. The writer drops it when it is empty; who waits still holds it."""

    changes: dict[str, tuple[Change, int]] = field(default_factory=dict[str, tuple[Change, int]])
    begun: int = 0
    """How many appends of it have begun, those included that failed. Each takes all that is queued by then."""
    answered: int = 0
    """The last that succeeded."""
    answer: Pending | None = None
    written: anyio.Event = field(default_factory=anyio.Event)
    given_up: bool = False
    """Nobody appends any more."""

    def hear(self, answer: Pending) -> None:
        self.answer, self.answered = answer, self.begun
        self.written.set()
        self.written = anyio.Event()


@dataclass(frozen=True, slots=True)
class Appended:
    """That all of a user is durable which was queued when this was made."""

    _queue: _Queue
    _last: str | None
    _begun: int

    async def wait(self) -> Pending | None:
        """Wait for it; return what the outbox said of the user to an append that began after this was made.

        Of such an answer nothing is missing that was durable by then, whichever process appended it. `None` if there is
        no such answer: nothing was queued, or all of it was under way already, and the answer to that may be too old.

        Raises:
            NotDurableError: the memory was closed before.
        """
        queue = self._queue
        while self._last in queue.changes:
            if queue.given_up:
                raise NotDurableError("closed before every change was durable")
            await queue.written.wait()
        return queue.answer if queue.answered > self._begun else None


class OutboxWriter:
    """Queues changes and appends them in the background; what arrives during one append goes with the next.

    `submit` and `queued` are plain methods, to be called from the event loop's thread.
    """

    def __init__(self, outbox: Outbox, *, queue_bytes: int = QUEUE_BYTES) -> None:
        self._outbox = outbox
        self._room = queue_bytes
        self.ended = False
        """Whether `run` has ended."""
        self._queues: defaultdict[UserKey, _Queue] = defaultdict(_Queue)
        self._nothing = _Queue()
        self._submitted = anyio.Event()

    def submit(self, user: UserKey, change: Change) -> bool:
        """Queue *change*, if the queue has room and `run` has not ended; say whether it was queued.

        An empty queue has room for any change: what no limit forbids must not be refused for ever.
        """
        size = len(msgspec.json.encode(change))
        if self.ended or (size > self._room and self._queues):
            return False
        self._room -= size
        self._queues[user].changes[change.id] = (change, size)
        self._submitted.set()
        return True

    def queued(self, user: UserKey) -> Sequence[Change]:
        """Return the user's changes that are not durable yet, in the order of submission."""
        return [change for change, _ in self._queues.get(user, self._nothing).changes.values()]

    @property
    def behind(self) -> bool:
        """Whether anything is not durable yet."""
        return bool(self._queues)

    def appended(self, user: UserKey) -> Appended:
        """Return what waits until all of *user* that is queued now is durable: now, not when the waiting begins."""
        queue = self._queues.get(user, self._nothing)
        return Appended(queue, next(reversed(queue.changes), None), queue.begun)

    async def written(self) -> None:
        """Wait until all that is queued now, of everybody, is durable."""
        for appended in [self.appended(user) for user in self._queues]:
            await appended.wait()

    async def run(self) -> None:
        """Append for ever. A failure is tried again, with backoff; one user's does not hold up the others'."""
        failures = 0
        try:
            while True:
                await self._submitted.wait()
                self._submitted = anyio.Event()
                failures = 0 if await self._append_all() else failures + 1
                if failures:
                    # What is submitted meanwhile is tried at once: perhaps it is another user's failure.
                    with anyio.move_on_after(backoff(failures)):
                        await self._submitted.wait()
                    self._submitted.set()
        finally:
            # A framework's last event may come after the end: it must be refused, not lost in silence.
            self.ended = True
            for queue in self._queues.values():
                queue.given_up = True
                queue.written.set()

    async def _append_all(self) -> bool:
        complete = True
        for user, queue in tuple(self._queues.items()):
            batch = tuple(queue.changes.values())
            queue.begun += 1
            try:
                answer = await self._outbox.append(user, [change for change, _ in batch])
            except Exception as error:  # whatever it is: if this task ended, nothing would ever be durable again
                complete = False
                expected = isinstance(error, EdgeMemoryError)
                _log.warning("%d changes are not durable yet: %s", len(batch), error, exc_info=not expected)
                continue
            for change, size in batch:
                del queue.changes[change.id]
                self._room += size
            if not queue.changes:
                del self._queues[user]
            queue.hear(answer)
        return complete
