"""EdgeMemory: the one object that an agent holds."""

import logging
import math
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

import anyio

from edgememory.config import Config, config_from_env, read_config
from edgememory.deletion import delete_user
from edgememory.errors import EdgeMemoryError, NotDurableError, StoreError
from edgememory.freshness import Policy
from edgememory.ids import next_id
from edgememory.limits import (
    LIMITS,
    check_bool,
    check_filters,
    check_language,
    check_limit,
    check_query,
    check_seconds,
    check_text,
    check_user,
    check_version,
)
from edgememory.look import look
from edgememory.models import Message, Page, Receipt, Snapshot
from edgememory.opening import Settings, close_with, connect, open_files, opened
from edgememory.outbox.delivery import DeliveryPolicy
from edgememory.parts import Assemble, Parts, configured, embedded, in_memory
from edgememory.recall.deep import candidates, meaning_of, reranked
from edgememory.recall.language import Language
from edgememory.recall.query import ALL, Filters, Match
from edgememory.recall.rank import query_for
from edgememory.runtime import Runtime
from edgememory.session import Session
from edgememory.telemetry import Counters
from edgememory.tier import store_timeout
from edgememory.walk import Read

_log = logging.getLogger("edgememory")

HISTORY_TIMEOUT = 10.0


class EdgeMemory:
    """Each user's memory, near the agent. One a process, opened before the first call arrives.

    Use it as `async with`, or `await open()` and `await aclose()`; on asyncio these may run in different tasks. The
    constructor does no I/O. `from_config`, `from_env`, `embedded` and `in_memory` make one from less.
    """

    def __init__(
        self,
        parts: Parts | Assemble,
        *,
        namespace: str = "default",
        policy: Policy | None = None,
        delivery: DeliveryPolicy | None = None,
        language: Language = "english",
        close_timeout: float = 2.0,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Clocks are parameters so that tests can own them.

        Args:
            parts: the stores, or what makes them.
            namespace: separates applications in one database.
            policy: how old an answer may be.
            delivery: how the outbox is delivered.
            language: in whose words memory is found, unless a session says otherwise.
            close_timeout: seconds that closing may take to make durable and deliver what waits.
            now: the wall clock, in seconds since 1970.
            monotonic: a clock that is never set.
        """
        self.counters = Counters()
        self._parts = parts
        self._namespace = check_text("namespace", namespace, LIMITS.namespace)
        self._policy = policy or Policy()
        self._settings = Settings(
            namespace=self._namespace,
            policy=self._policy,
            delivery=delivery or DeliveryPolicy(),
            now=now,
            monotonic=monotonic,
        )
        self._language: Language = check_language(language)
        self._close_timeout = close_timeout
        self._stack = AsyncExitStack()
        self._assembled: Parts | None = None
        self._opening = self._closing = False
        self._changing = anyio.Lock(fast_acquire=True)
        self._running: Runtime | None = None

    @classmethod
    def from_config(cls, path: str | os.PathLike[str], *, region: str | None = None) -> Self:
        """Read a TOML file. The region is *region*, else `EDGEMEMORY_REGION`, else `FLY_REGION`.

        Raises:
            ConfigError: a setting is missing, unknown or wrong; names it and says what it must be.
        """
        return cls._of(read_config(path, region=region))

    @classmethod
    def from_env(cls) -> Self:
        """Read `EDGEMEMORY_ORIGIN_DSN`, `_OUTBOX_PATH`, `_OUTBOX_DURABLE_DISK`; if set, `_REDIS_URL`, `_NAMESPACE`.

        Raises:
            ConfigError: names the variable and says what it must be.
        """
        return cls._of(config_from_env())

    @classmethod
    def _of(cls, config: Config) -> Self:
        return cls(configured(config), namespace=config.namespace, policy=config.policy, language=config.language)

    @classmethod
    def embedded(cls, folder: str | os.PathLike[str]) -> Self:
        """Keep everything in *folder*: a Postgres server that its processes share, and an outbox.

        Needs the extra `embedded`. The first opening takes some seconds; the last process to close stops the server.
        """
        return cls(embedded(folder))

    @classmethod
    def in_memory(cls) -> Self:
        """Keep everything in process memory, and lose it in the end: for tests of agents."""
        return cls(in_memory)

    # Talking

    def session(
        self,
        user_id: str | None,
        *,
        session_id: str | None = None,
        agent_id: str | None = None,
        at_least: int = 0,
        language: Language | None = None,
        extract: bool = True,
        timeout: float = 0.5,
        leave_timeout: float = 2.0,
    ) -> Session:
        """Return a session, to be entered with `async with`. An outage never raises: the session is degraded then.

        Args:
            user_id: 1 to 512 bytes; compared byte for byte. `None` for a caller who is known only later: then
                `Session.identify` opens the memory.
            session_id: of the framework, if it has one; else made here.
            agent_id: kept with each message.
            at_least: a version, from `Session.committed`, that the session must show if it can be had at all.
            language: what is spoken, where it is not what the memory's language is.
            extract: whether the extractor reads it once it is over; not where the agent keeps its own facts.
            timeout: seconds that opening may take in all; what arrives later is merged in.
            leave_timeout: seconds that leaving may wait for the outbox and the caches.

        Raises:
            InvalidInputError: an id is empty, too long, or holds what no store can keep; a number is none.
        """
        return Session(
            self._opened,
            None if user_id is None else check_user(self._namespace, user_id),
            namespace=self._namespace,
            session_id=next_id() if session_id is None else check_text("session_id", session_id, LIMITS.session_id),
            agent_id=None if agent_id is None else check_text("agent_id", agent_id, LIMITS.agent_id),
            at_least=check_version("at_least", at_least),
            language=self._language if language is None else check_language(language),
            extract=check_bool("extract", extract),
            open_timeout=check_seconds("timeout", timeout),
            leave_timeout=check_seconds("leave_timeout", leave_timeout),
        )

    async def warm(self, user_id: str, *, timeout: float = math.inf) -> Read:
        """Bring a user's memory into this process, and open the connections: while the phone rings.

        Never raises for an outage.
        """
        user, runtime = check_user(self._namespace, user_id), self._opened()
        timeout = check_seconds("timeout", timeout)
        runtime.background.start(connect, runtime)
        return (await look(runtime, user, timeout=timeout)).read

    # Looking things up

    async def get_profile(self, user_id: str, *, timeout: float = 0.5) -> Snapshot:
        """Return the user's snapshot as a session would first see it; empty if nothing can be learned in time."""
        user, runtime = check_user(self._namespace, user_id), self._opened()
        return (await look(runtime, user, timeout=check_seconds("timeout", timeout))).snapshot

    async def get_messages(
        self, user_id: str, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        """Return the whole history, newest first, a page at a time, from the origin; never cached.

        Raises:
            StoreError: the origin does not answer.
        """
        user, origin = check_user(self._namespace, user_id), self._opened().tiered.origin
        with store_timeout(HISTORY_TIMEOUT, store=origin.name, operation="get_messages"):
            return await origin.store.get_messages(user, session_id=session_id, cursor=cursor, limit=limit)

    async def search(
        self,
        user_id: str,
        query: str,
        *,
        limit: int = 10,
        filters: Filters = ALL,
        language: Language | None = None,
        timeout: float = HISTORY_TIMEOUT,
    ) -> list[Match]:
        """Return what of the whole history fits *query* best, best first: from the replica or the origin, never cached.

        One round trip. A *query* of none but words that mean nothing by themselves finds nothing.

        Args:
            user_id: whose history.
            query: what is to be found, in the user's words. Of a long one the first 64 different words count.
            limit: how many matches at most; 1 to 1000.
            filters: what may be found.
            language: of the query.
            timeout: seconds that each has who is asked: the embedder (1 at most), the replica, and the origin if that
                fails.

        Raises:
            InvalidInputError: the query is no text that a message could hold, a filter none that can be compared with.
            StoreError: neither answers.
        """
        user, runtime = check_user(self._namespace, user_id), self._opened()
        text, limit, filters = check_query(query), check_limit(limit), check_filters(filters)
        spoken: Language = self._language if language is None else check_language(language)
        timeout = check_seconds("timeout", timeout)
        vector = await meaning_of(text, runtime.embedder, timeout=timeout)
        asked = query_for(text, spoken, filters, vector=vector, embedder=runtime.embedder)
        if not asked.terms and vector is None:
            return []
        found = await candidates(runtime.tiered, user, asked, limit=limit, timeout=timeout)
        return await reranked(found, asked, text, limit=limit)

    async def delete_user(self, user_id: str) -> Receipt:
        """Erase a user at the origin, then in this region's stores; the receipt names what was not cleared.

        Open sessions of the user end. What other sessions still hold of the user is dropped when it arrives.

        Raises:
            StoreError: the origin did not delete the user.
        """
        return await delete_user(self._opened(), check_user(self._namespace, user_id), self._policy)

    async def flush(self, *, timeout: float = 5.0) -> None:
        """Wait until every change so far is durable.

        Raises:
            NotDurableError: it is not, after *timeout* seconds; it is still being tried.
        """
        runtime = self._opened()
        with anyio.move_on_after(check_seconds("timeout", timeout)) as scope:
            await runtime.writer.written()
        if scope.cancelled_caught:
            raise NotDurableError(f"some changes are in process memory only, after {timeout:g} s")

    async def deliver(self, *, timeout: float = 10.0) -> bool:
        """Bring to the origin what waits in the outbox now, whoever left it there; say whether all of it is there.

        Nobody needs it as a rule: it goes on in the background. It is for a process that is about to end, and for one
        that delivers what others leave in the outbox and knows that they have just left something. What another process
        has under way is left to that one.
        """
        runtime = self._opened()
        if not runtime.delivers:
            raise EdgeMemoryError("opened with deliver=False: another process delivers what is in this outbox")
        with anyio.move_on_after(check_seconds("timeout", timeout)):
            await runtime.writer.written()
            while not await runtime.delivery.drained():
                pass  # Not idle: each failure is followed by a pause.
            return True
        return False

    @property
    def blocked(self) -> StoreError | None:
        """Why nothing reaches the origin until somebody acts; `None` while delivery works."""
        return self._opened().delivery.blocked

    # Opening and closing

    async def prepare(self) -> None:
        """Load the drivers, and open what is a file of this host: for a process that stands ready before it has a call.

        Nothing is connected and nothing begins: `open` comes later, and may do so on another event loop of the same
        kind. An embedded memory is opened on the one that prepared it: its Postgres runs from here on.
        """
        async with self._opens():
            open_files(await self._assemble())

    async def open(self, *, deliver: bool = True) -> None:
        """Start the background work, and begin to open the connections.

        Args:
            deliver: whether this process brings the outbox to the origin, and extracts what it brought. `False` where
                another process on the same outbox does. Opening waits for nothing then, and closing until all is
                durable: never for the origin.
        """
        deliver = check_bool("deliver", deliver)
        async with self._opens():
            parts = await self._assemble()
            self._running = await opened(parts, self._stack, self._settings, self.counters, deliver=deliver)

    @asynccontextmanager
    async def _opens(self) -> AsyncGenerator[None]:
        if self._running is not None or self._opening:
            raise EdgeMemoryError("already open")
        if self._closing:
            raise EdgeMemoryError("still closing: wait for aclose() before it is opened again")
        self._opening = True
        try:
            async with self._changing:
                try:
                    yield
                except BaseException:
                    await self._close()
                    raise
        finally:
            self._opening = False

    async def _assemble(self) -> Parts:
        if self._assembled is None:
            self._assembled = self._parts if isinstance(self._parts, Parts) else await self._parts(self._stack)
            close_with(self._stack, self._assembled)
        return self._assembled

    async def _close(self) -> None:
        stack, self._stack, self._assembled = self._stack, AsyncExitStack(), None
        # Not shielded as a whole: on trio, the background's own scope is left here, and scopes must nest.
        await stack.aclose()

    async def aclose(self) -> None:
        """Make what is queued durable, give delivery a last moment, and close the stores.

        What the origin has not taken by then waits in the outbox for the next process. What is being opened is waited
        for.
        """
        with anyio.CancelScope(shield=True):  # An agent that was cancelled closes it all the same.
            await self._changing.acquire()
        runtime, self._running = self._running, None
        self._closing = True
        try:
            if runtime is not None:
                await self._settle(runtime)
            await self._close()
        finally:
            self._closing = False
            self._changing.release()

    async def _settle(self, runtime: Runtime) -> None:
        with anyio.move_on_after(self._close_timeout, shield=True):
            await runtime.writer.written()
            if runtime.delivers:
                await runtime.delivery.drained()
        if runtime.writer.behind:
            _log.error("closed before every change was durable: some are lost")

    def _opened(self) -> Runtime:
        if self._running is None:
            raise EdgeMemoryError("not open: use `async with memory`, or await memory.open() first")
        return self._running

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
