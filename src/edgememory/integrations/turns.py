"""What memory says to each turn of a conversation, for every framework alike."""

import logging
import time
from collections.abc import Sequence

import anyio

from edgememory.context import CountTokens, estimate_tokens
from edgememory.errors import InvalidInputError
from edgememory.limits import LIMITS, check_bool, check_limit, check_seconds, check_tokens
from edgememory.recall.query import Filters, Match
from edgememory.recall.words import words
from edgememory.session import Session
from edgememory.telemetry import Turns

_log = logging.getLogger("edgememory")

RANKING = 0.03
"""Of a turn's timeout, the seconds that are left for the snapshot's own answer when the whole history gives none."""
TURNS_KEPT = 8
"""Frameworks ask again for a turn: for each tool step, and for a reply that was begun early and thrown away."""
_Asked = tuple[object, ...]
"""Of whom, whether and when they were deleted, what was known and forgotten of them, and by which words: what was
recalled for it holds as long as they are the same."""


class TurnMemory:
    """The blocks of one session, recalled for once a turn. It never raises, and holds a turn up no longer than told.

    Args:
        session: an open one.
        max_tokens: how long a block may be, what was recalled included.
        count_tokens: as in `Session.context`.
        recall_limit: how many matches a turn is given at most; 1 to 1000.
        recall_timeout: seconds that a turn may wait for recall, whatever becomes of it.
        deep: whether each turn also asks for the whole history. That is a request a turn to the replica or the origin,
            for which the turn waits up to *recall_timeout*; what comes later is there for the next turn.
    """

    def __init__(
        self,
        session: Session,
        *,
        max_tokens: int = 500,
        count_tokens: CountTokens = estimate_tokens,
        recall_limit: int = 5,
        recall_timeout: float = 0.15,
        deep: bool = False,
    ) -> None:
        self.session = session
        self.waited = 0.0
        """Seconds that the last block took."""
        self._max_tokens = check_tokens("max_tokens", max_tokens)
        self._count_tokens = count_tokens
        self._limit = check_limit(recall_limit)
        self._timeout = check_seconds("recall_timeout", recall_timeout)
        self._deep = check_bool("deep", deep)
        self._ahead: tuple[_Asked | None, Sequence[Match]] = (None, ())
        self._by_turn: dict[str, tuple[_Asked, Sequence[Match]]] = {}
        self._telemetry = Turns()

    async def block(self, turn_id: str, said: str) -> str:
        """Return the fenced block for the turn that answers *said*; empty if nothing is known.

        From the snapshot within 2 ms, and within 0.5 ms where the same words were prefetched. Asked again for the same
        turn, it recalls anew only if other facts are known by now: a tool has forgotten one, say. Cancelled, it leaves
        nothing half done.
        """
        began = time.perf_counter()
        try:
            asked = self._asked(said)
            kept = self._by_turn.get(turn_id)
            if kept is None or kept[0] != asked:
                kept = (asked, await self._recalled(said, asked))
                self._keep(turn_id, kept)
            return self.session.context(max_tokens=self._max_tokens, count_tokens=self._count_tokens, recalled=kept[1])
        except Exception:  # Whatever it is, a reply without memory is better than none.
            _log.exception("a turn goes without memory")
            return ""
        finally:
            self.waited = time.perf_counter() - began
            self._telemetry.waited(self.waited)

    async def prefetch(self, said: str) -> None:
        """Recall for what the caller seems to say, before it is certain: an interim transcript."""
        try:
            if (asked := self._asked(said)) != self._ahead[0]:
                self._ahead = (asked, await self._recalled(said, asked))
        except Exception:  # The turn itself will recall.
            _log.exception("nothing is recalled ahead of a turn")

    def _asked(self, said: str) -> _Asked:
        session, known = self.session, self.session.snapshot
        return session.user_id, session.ended, known.erased_at, known.facts, known.forgotten, words(said)

    async def _recalled(self, said: str, asked: _Asked) -> Sequence[Match]:
        ahead, matches = self._ahead
        is_known = ahead == asked
        if is_known and not self._deep:
            return matches
        # What the whole history has said to the same words since then is found where all else is.
        deep = self._deep and not is_known
        # Longer than any message, it is no transcript; its end is what the caller said last.
        said = said[-LIMITS.message // 4 :]
        earlier = Filters(except_session_id=self.session.session_id)
        with anyio.move_on_after(self._timeout):
            try:
                patience = max(0.0, self._timeout - RANKING)
                return await self.session.recall(said, limit=self._limit, filters=earlier, deep=deep, timeout=patience)
            except InvalidInputError as error:
                _log.info("nothing is recalled for what no text can be: %s", error)
        return ()

    def _keep(self, turn_id: str, recalled: tuple[_Asked, Sequence[Match]]) -> None:
        self._by_turn[turn_id] = recalled
        while len(self._by_turn) > TURNS_KEPT:
            del self._by_turn[next(iter(self._by_turn))]
