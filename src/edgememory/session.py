"""Session: one conversation of one user with one agent."""

from collections.abc import Callable, Mapping, Sequence
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
from edgememory.context import CountTokens, context_block, estimate_tokens
from edgememory.errors import EdgeMemoryError, InvalidInputError
from edgememory.keys import fact_key
from edgememory.limits import (
    LIMITS,
    check_bool,
    check_filters,
    check_importance,
    check_limit,
    check_metadata,
    check_new_preference,
    check_query,
    check_role,
    check_scalar,
    check_seconds,
    check_text,
    check_time,
    check_tokens,
    check_user,
)
from edgememory.models import Role, Scalar, Snapshot, UserKey
from edgememory.recall.language import Language
from edgememory.recall.query import ALL, Filters, Match
from edgememory.runtime import Runtime
from edgememory.stay import Stay
from edgememory.unidentified import Unidentified
from edgememory.walk import Read


class Session:
    """Made by `EdgeMemory.session`, used as `async with`; its methods are called from the event loop's thread.

    Methods that change something return at once and never raise for an outage, only for input that breaks a limit
    (`InvalidInputError`). What they change shows in `snapshot` at once. A change that is made after the session was
    left is kept and delivered like any other, but nobody waits for it.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        user: UserKey | None,
        *,
        namespace: str,
        session_id: str,
        agent_id: str | None,
        at_least: int,
        language: Language,
        extract: bool,
        open_timeout: float,
        leave_timeout: float,
    ) -> None:
        self.session_id = session_id
        self._find_runtime = runtime
        self._user = user
        self._namespace = namespace
        self._agent_id = agent_id
        self._at_least = at_least
        self._language: Language = language
        self._extract = extract
        self._open_timeout = open_timeout
        self._leave_timeout = leave_timeout
        self._opened: Stay | Unidentified | None = None
        self._identifying = anyio.Lock(fast_acquire=True)
        self._left = False

    @property
    def user_id(self) -> str | None:
        """Whose session it is; `None` until the caller is identified."""
        return None if self._user is None else self._user.user_id

    # Reading

    @property
    def snapshot(self) -> Snapshot:
        """The user's memory, with every change of this session made."""
        return self._stay.view.snapshot

    @property
    def opened_with(self) -> Read:
        """What was read when it opened: the status, the tier, the age."""
        return self._stay.read

    @property
    def degraded(self) -> bool:
        """Whether nothing that may be trusted has been read yet; what arrives late ends that."""
        return self._stay.degraded

    @property
    def durable(self) -> bool:
        """Whether every change so far would survive this process."""
        return self._stay.durable

    @property
    def ended(self) -> bool:
        """Whether the user was deleted meanwhile. Every method is a counted no-op from then on."""
        return self._stay.view.ended

    def context(
        self,
        *,
        max_tokens: int = 500,
        count_tokens: CountTokens = estimate_tokens,
        recalled: Sequence[Match] | None = None,
    ) -> str:
        """Return a fenced block for the prompt, of whole items; empty if nothing is known, or nothing fits.

        Args:
            max_tokens: how long the block may be. Taken are, in this order, the name, preferences, facts by rank, the
                newest summaries and the newest messages of earlier sessions.
            count_tokens: how many tokens a text is: a quarter of its characters if not given, which is about right for
                English and too few for Chinese or Japanese. Give your model's tokenizer for an exact limit. It is
                called once a section, and once an item of one that does not fit whole; what it raises is yours.
            recalled: what `recall` found for the caller's last words. It stands last, in a quarter of *max_tokens* that
                is kept for it also where it is empty; what the block says already is not said again.

        Facts, summaries and messages have their date in front, always as in `2026-03-02` and always in UTC: "last week"
        means nothing later. What is new stands at the end of its section, and messages at the end of the block, so that
        it begins alike from call to call, as a model's prompt cache needs it.
        """
        return context_block(
            self.snapshot,
            max_tokens=check_tokens("max_tokens", max_tokens),
            count_tokens=count_tokens,
            session_id=self.session_id,
            recalled=recalled,
        )

    async def recall(
        self, query: str, *, limit: int = 5, filters: Filters = ALL, deep: bool = False, timeout: float = 0.15
    ) -> list[Match]:
        """Return what this session knows of that fits *query* best, best first, without any I/O.

        That is the snapshot, what was said in this call, and what deep searches have brought. It never raises for an
        outage. The first time it reads all of that, some milliseconds; later only what is new, within one.

        Args:
            query: what is to be found: the caller's last words, say. Of a long one the first 64 different words count.
            limit: how many matches at most; 1 to 1000.
            filters: what may be found. `except_session_id=session.session_id` leaves out what the model has before it.
            deep: also search the whole history, for at most *timeout* seconds. What arrives later is there next time.
            timeout: seconds, of a deep search, and for an embedder in the process whose model is not loaded yet.

        Raises:
            InvalidInputError: the query is no text that a message could hold, a filter none that can be compared with.
        """
        text, limit, filters = check_query(query), check_limit(limit), check_filters(filters)
        timeout = check_seconds("timeout", timeout)
        if self._stay.ignores():
            return []
        recollection = self._stay.recollection
        if deep:
            return await recollection.find_deep(text, limit=limit, filters=filters, timeout=timeout)
        return await recollection.find(text, limit=limit, filters=filters, timeout=timeout)

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
            interrupted=check_bool("interrupted", interrupted),
            agent_id=self._agent_id,
            language=self._language,
            metadata=check_metadata(metadata),
        )

    def remember(self, text: str, *, importance: int = 5, replaces: str | None = None) -> None:
        """Keep a fact (1 KiB at most). Saying it again is no second fact; *replaces* is the text of one that is over.

        Args:
            text: the fact, in words that will make sense in a later call.
            importance: 0 to 10: which facts stay in the snapshot when there are too many.
            replaces: a fact that no longer holds: it leaves the snapshot, and stays in the history.
        """
        text = check_text("text", text, LIMITS.fact)
        replaced = None if replaces is None else fact_key(check_text("replaces", replaces, LIMITS.fact))
        self._make(
            FactRemembered,
            key=fact_key(text),
            text=text,
            importance=check_importance(importance),
            replaces=replaced,
            language=self._language,
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
        self._make(SummaryAdded, text=check_text("text", text, LIMITS.summary), language=self._language)

    def _make(self, kind: Callable[..., Change], **fields: object) -> None:
        if not self._stay.ignores():
            self._stay.change(kind, **fields)

    # Opening and leaving

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise EdgeMemoryError("a session is entered once: make another with `memory.session(...)`")
        if self._user is None:
            self._opened = Unidentified(self._find_runtime(), session_id=self.session_id, language=self._language)
            return self
        stay = self._opened = self._stay_of(self._user)
        await stay.open(at_least=self._at_least, timeout=self._open_timeout)
        return self

    async def identify(self, user_id: str) -> None:
        """Say who the caller is, in a session of `None`: load that user's memory, then keep all that was said so far.

        It takes as long as opening a session would have taken, and like that never raises for an outage. What was said
        before counts as said now. To identify the same user again does nothing.

        Raises:
            InvalidInputError: the id is empty, too long, or holds what no store can keep; it is not the session's user.
        """
        user = check_user(self._namespace, user_id)
        async with self._identifying:
            unidentified = self._stay
            if isinstance(unidentified, Unidentified):
                await self._become(user, unidentified)
            elif user != self._user:
                raise InvalidInputError("this session is another user's already: open one for each user")

    async def _become(self, user: UserKey, unidentified: Unidentified) -> None:
        self._user, stay = user, self._stay_of(user)
        try:
            await stay.open(at_least=self._at_least, timeout=self._open_timeout)
            # From here on nothing is awaited: the outbox gets all of it in one step.
            for change in unidentified.handed_to(stay.view):
                stay.make(change)
            self._opened = stay
        finally:
            if self._opened is not stay:
                self._user = None
        if self._left:
            await stay.leave(timeout=self._leave_timeout)

    def _stay_of(self, user: UserKey) -> Stay:
        return Stay(
            self._find_runtime(), user, session_id=self.session_id, language=self._language, extract=self._extract
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            async with self._identifying:  # A caller who hangs up meanwhile has still said what was said.
                pass
        finally:
            self._left = True
            await self._stay.leave(timeout=self._leave_timeout)

    async def committed(self) -> int:
        """Wait until none of the session's changes waits any more, and return the version that shows them all.

        Give it to `EdgeMemory.session(..., at_least=...)` on another host to read your writes there. Bound the wait
        with `anyio.fail_after`. Of what another process delivers, this one sees that it has left the outbox, no more.

        Raises:
            NotCommittedError: some of them were dropped by a deletion, or refused; nobody was identified; the memory
                was closed meanwhile.
            StoreError: the outbox cannot be asked.
        """
        return await self._stay.committed()

    @property
    def _stay(self) -> Stay | Unidentified:
        if self._opened is None:
            raise EdgeMemoryError("the session is not open: use `async with memory.session(...) as session`")
        return self._opened
