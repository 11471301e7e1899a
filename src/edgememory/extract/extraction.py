"""Runs the extractor on sessions that have ended, behind everybody's back."""

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence

import anyio
from msgspec import Struct

from edgememory.changes import Change, SessionEnded
from edgememory.errors import EdgeMemoryError, StoreError, StoreRejectedError, StoreUnavailableError
from edgememory.extract.changes import changes_of
from edgememory.extract.checked import checked
from edgememory.extract.extractor import Conversation, Extractor
from edgememory.models import Awaiting, Entry, Message, UserKey
from edgememory.store import OriginStore, Outbox
from edgememory.telemetry import Counters

_log = logging.getLogger("edgememory")

TRANSCRIPT = 1000
"""The newest messages of a session are read: as many as one page holds."""


class ExtractionPolicy(Struct, frozen=True, kw_only=True):
    """How ended sessions are extracted. Times in seconds."""

    poll: float = math.inf
    """How often to look for sessions that others have left behind; by default, what was delivered here is extracted."""
    at_once: int = 4
    timeout: float = 60.0
    """For one session."""
    lease: float = 120.0
    """After that somebody else may try: more than the timeout."""
    retry: float = 5.0
    """Until the second try, twice as long with each further one, up to an hour."""
    tries: int = 10
    """After so many a session is given up; its transcript stays, and so does the error."""


class Extraction:
    """Claims sessions at the origin, and commits what the extractor makes of them, once in effect.

    Whoever dies in between loses nothing: the lease ends, and the next one claims.
    """

    def __init__(
        self,
        *,
        origin: OriginStore,
        outbox: Outbox,
        extractor: Extractor,
        publish: Callable[[UserKey, Entry], Awaitable[None]],
        namespace: str,
        counters: Counters,
        policy: ExtractionPolicy,
    ) -> None:
        self._origin = origin
        self._outbox = outbox
        self._extractor = extractor
        self._publish = publish
        self._namespace = namespace
        self._counters = counters
        self._policy = policy
        self._expected = 0
        self._retries: list[float] = []
        """When what has failed here may be tried again, by the event loop's clock."""
        self._wanted = anyio.Event()

    def committed(self, changes: Iterable[Change]) -> None:
        """Hear what the origin has taken, and that the outbox knows: ends of sessions, perhaps, whoever left them."""
        self._expected += sum(isinstance(change, SessionEnded) for change in changes)
        if self._expected:
            self._wanted.set()

    async def run(self) -> None:
        """Extract for ever; where others' sessions are looked for too, those that wait already come first."""
        if math.isinf(self._policy.poll):
            await self._wanted.wait()
        while True:
            self._wanted = anyio.Event()
            claimed = await self._claim()
            self._expected = max(0, self._expected - len(claimed))
            async with anyio.create_task_group() as group:
                for awaiting in claimed:
                    group.start_soon(self._extract, awaiting)
            if not claimed:
                with anyio.move_on_after(self._pause()):
                    await self._wanted.wait()

    def _pause(self) -> float:
        """Return the seconds until something is to be looked for: being woken before that forgets no retry."""
        now = anyio.current_time()
        self._retries = [due for due in self._retries if due > now]
        return min([self._policy.poll, *(due - now for due in self._retries)])

    def _try_again_in(self, seconds: float) -> None:
        self._retries.append(anyio.current_time() + seconds)

    async def _claim(self) -> Sequence[Awaiting]:
        try:
            return await self._origin.claim_extractions(
                self._namespace, lease=self._policy.lease, limit=self._policy.at_once
            )
        except Exception as error:  # whatever it is: if this task ended, nothing would ever be extracted again
            expected = isinstance(error, EdgeMemoryError)
            _log.log(logging.INFO if expected else logging.ERROR, "cannot look for sessions to extract: %r", error)
            self._try_again_in(self._policy.retry)
            return ()

    async def _extract(self, awaiting: Awaiting) -> None:
        try:
            with anyio.fail_after(self._policy.timeout):
                committed = await self._asked(awaiting)
        except StoreRejectedError as error:
            await self._postpone(awaiting, str(error), gives_up=True)
        except (EdgeMemoryError, TimeoutError) as error:
            await self._postpone(awaiting, str(error) or "it takes too long", gives_up=self._is_last(awaiting))
        except Exception as error:  # somebody's extractor: it must not keep the others from being run
            _log.exception("an extractor failed as none may")
            await self._postpone(awaiting, repr(error), gives_up=self._is_last(awaiting))
        except anyio.get_cancelled_exc_class() as error:
            if anyio.current_effective_deadline() == -math.inf:
                raise
            # Something under somebody's extractor was cancelled, and not this: it would take the others along.
            await self._postpone(awaiting, repr(error), gives_up=self._is_last(awaiting))
        else:
            self._counters.sessions_extracted += committed

    async def _asked(self, awaiting: Awaiting) -> bool:
        """Say whether something new was committed."""
        user = awaiting.user
        waiting = (await self._outbox.pending(user)).changes
        if any(change.session_id == awaiting.session_id for change in waiting):
            # After failures delivery keeps no order: the end may have come before what was said.
            raise StoreUnavailableError("some of it is still on its way", store="outbox", operation="extract")
        messages = await self._transcript(awaiting)
        known = (await self._origin.get(user)).snapshot
        conversation = Conversation(
            session_id=awaiting.session_id, messages=messages, known=known, language=awaiting.language
        )
        extracted = checked(await self._extractor.extract(conversation), conversation)
        committed = await self._origin.finish_extraction(awaiting, changes_of(extracted, awaiting, known))
        if committed is None:
            return False
        await self._publish(user, committed.entry)
        return True

    async def _transcript(self, awaiting: Awaiting) -> tuple[Message, ...]:
        page = await self._origin.get_messages(awaiting.user, session_id=awaiting.session_id, limit=TRANSCRIPT)
        return tuple(message for message in reversed(page.items) if message.id < awaiting.id)

    def _is_last(self, awaiting: Awaiting) -> bool:
        return awaiting.tries >= self._policy.tries

    async def _postpone(self, awaiting: Awaiting, error: str, *, gives_up: bool) -> None:
        seconds = min(3600.0, self._policy.retry * 2.0 ** (awaiting.tries - 1))
        fate = "given up" if gives_up else f"tried again in {seconds:g} s"
        _log.log(logging.ERROR if gives_up else logging.INFO, "a session was not extracted, %s: %s", fate, error)
        self._counters.extractions_failed += 1
        try:
            await self._origin.postpone_extraction(awaiting, seconds=seconds, error=error, gives_up=gives_up)
        except StoreError as lost:
            _log.info("its lease will end: %s", lost)
            self._try_again_in(self._policy.lease)
        else:
            # Counted from here: the origin counts from when it was told, and gives out nothing before.
            if not gives_up:
                self._try_again_in(seconds)
