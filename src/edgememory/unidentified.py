"""A conversation with somebody who is not known yet: a session's part until `Session.identify`."""

import logging
from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from edgememory.changes import Change
from edgememory.errors import NotCommittedError
from edgememory.ids import next_id
from edgememory.outbox.writer import QUEUE_BYTES
from edgememory.recall.language import Language
from edgememory.recall.recollection import Recollection
from edgememory.runtime import Runtime
from edgememory.view import View
from edgememory.walk import NOTHING

_log = logging.getLogger("edgememory")


class Unidentified:
    """Stands where a `Stay` will: what it is told stays in process memory, and goes with it."""

    read = NOTHING
    degraded = False
    """Nothing was asked for that could have failed."""

    def __init__(self, runtime: Runtime, *, session_id: str, language: Language) -> None:
        self.view = View(started=round(runtime.now(), 6))
        self.recollection = Recollection(runtime, None, self.view, language)
        self._counters = runtime.counters
        self._session_id = session_id
        self._room = QUEUE_BYTES
        self._left = False

    @property
    def durable(self) -> bool:
        return not self.view.own

    def ignores(self) -> bool:
        return False

    def change(self, kind: Callable[..., Change], **fields: object) -> None:
        """Make a change, of nobody's memory yet; what no longer fits is counted and lost."""
        view = self.view
        change = kind(
            id=next_id(view.last_id), session_id=self._session_id, session_started=view.started, base=None, **fields
        )
        size = len(msgspec.json.encode(change))
        if self._left:
            self._counters.changes_unidentified += 1
            return
        if size > self._room and view.own:
            self._counters.changes_overflowed += 1
            _log.error("a change was lost: no more is kept of a caller whom nobody has identified")
            return
        self._room -= size
        view.make(change)

    def handed_to(self, known: View) -> Iterator[Change]:
        """Yield its changes as those of a session that sees *known*, in order: later than all that was said before.

        Their session counts as begun when its user was identified: until then, no deletion of the user concerned it.
        """
        for change in self.view.own.values():
            yield replace(change, id=next_id(known.last_id), session_started=known.started, base=known.base)

    async def leave(self, *, timeout: float) -> None:
        """Drop what nobody will ask for: at once, whatever the *timeout* of a `Stay` would be."""
        self._left = True
        if dropped := len(self.view.own):
            self._counters.changes_unidentified += dropped
            _log.info("%d changes of a caller who was never identified are dropped", dropped)

    async def committed(self) -> int:
        raise NotCommittedError("nobody was identified: call session.identify(user_id) first")
