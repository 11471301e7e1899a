"""From a session's plain method calls to the outbox: a bounded queue, and one task that makes it durable."""

import logging
from collections.abc import Sequence

import anyio
import msgspec

from edgememory.changes import Change
from edgememory.errors import EdgeMemoryError
from edgememory.models import UserKey
from edgememory.outbox.backoff import backoff
from edgememory.store import Outbox

_log = logging.getLogger("edgememory")

QUEUE_BYTES = 4 * 1024 * 1024
"""Of encoded changes, for all sessions of a process together."""


class OutboxWriter:
    """Queues changes and appends them in the background; what arrives during one append goes with the next.

    `submit` and `queued` are plain methods, to be called from the event loop's thread.
    """

    def __init__(self, outbox: Outbox, *, queue_bytes: int = QUEUE_BYTES) -> None:
        self._outbox = outbox
        self._room = queue_bytes
        self._ended = False
        self._queue: dict[UserKey, dict[str, tuple[Change, int]]] = {}
        self._submitted = anyio.Event()
        self._written = anyio.Event()

    def submit(self, user: UserKey, change: Change) -> bool:
        """Queue *change*, if the queue has room and `run` has not ended; say whether it was queued.

        An empty queue has room for any change: what no limit forbids must not be refused for ever.
        """
        size = len(msgspec.json.encode(change))
        if self._ended or (size > self._room and self._queue):
            return False
        self._room -= size
        self._queue.setdefault(user, {})[change.id] = (change, size)
        self._submitted.set()
        return True

    def queued(self, user: UserKey) -> Sequence[Change]:
        """Return the user's changes that are not durable yet, in the order of submission."""
        return [change for change, _ in self._queue.get(user, {}).values()]

    @property
    def behind(self) -> bool:
        """Whether anything is not durable yet."""
        return bool(self._queue)

    async def written(self, user: UserKey | None = None) -> None:
        """Wait until all that is queued now, of *user* or of everybody, is durable."""
        users = tuple(self._queue) if user is None else (user,)
        waiting = {(user, id) for user in users for id in self._queue.get(user, ())}
        while waiting := {(user, id) for user, id in waiting if id in self._queue.get(user, ())}:
            await self._written.wait()

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
            self._ended = (
                True  # A framework's last event may come after the end: it must be refused, not lost in silence.
            )

    async def _append_all(self) -> bool:
        complete = True
        for user, queued in tuple(self._queue.items()):
            batch = tuple(queued.values())
            try:
                await self._outbox.append(user, [change for change, _ in batch])
            except Exception as error:  # whatever it is: if this task ended, nothing would ever be durable again
                complete = False
                expected = isinstance(error, EdgeMemoryError)
                _log.warning("%d changes are not durable yet: %s", len(batch), error, exc_info=not expected)
                continue
            for change, size in batch:
                del queued[change.id]
                self._room += size
            if not queued:
                del self._queue[user]
            self._written.set()
            self._written = anyio.Event()
        return complete
