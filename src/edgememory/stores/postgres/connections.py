"""The connections of one process: few, opened when wanted, and not lost with the caller who wanted them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from random import uniform
from typing import TypeVar

import asyncpg

from edgememory.stores.postgres.line import GONE, Line

_T = TypeVar("_T")

_GRACE = 1.0
"""For how many seconds a query may go on after its caller was cancelled."""
_PATIENCE = 60.0
"""For how many seconds at most to ask a server for a connection that has none left."""
_TURN = (0.02, 0.2)
"""Seconds between those attempts: at random, so that processes take turns."""
_FIRST_LOOK = (0.5, 1.5)
"""Seconds until an idle line asks whether the server is crowded. Each next time it waits twice as long."""


class Connections:
    """At most *most* lines; callers beyond that take turns. Belongs to the event loop of its first call.

    It is not asyncpg's pool, for three reasons. That costs a round trip when a connection is given back. It gives an
    attempt to connect up with the caller who is cancelled: where connecting takes longer than callers wait, nobody
    would ever get a connection. And its idle connections keep other processes out of a server that has few.
    """

    def __init__(self, connect: Callable[[], Awaitable[Line]], *, most: int, idle_close: float, asks: bool) -> None:
        """*asks*: whether idle lines close when the server is crowded. Behind a pooler that is not ours to know."""
        self._connect = connect
        self._most = most
        self._idle_close = idle_close
        self._asks = asks
        self._open = 0
        self._idle: dict[Line, asyncio.Task[None]] = {}
        self._waiters: deque[asyncio.Future[Line]] = deque()
        self._attempt: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False

    async def warm(self) -> None:
        """Open one line ahead, unless there is one."""
        if not self._open:
            await self._shielded(self._attempting())

    async def fetchval(self, sql: str, *arguments: object) -> object:
        """Run a statement that may be repeated: it is, once, where a line that has idled turns out to be dead."""
        line = await self._acquire()
        has_idled = line.used
        try:
            return await self._run(line, sql, arguments)
        except GONE:
            if not has_idled:
                raise
        for idle in tuple(self._idle):
            self._take(idle).terminate()
            self._release(idle)
        return await self._run(await self._acquire(), sql, arguments)

    async def aclose(self) -> None:
        self._closed = True
        self._refuse_waiters(ConnectionError("the store was closed"))
        lines = [self._take(line) for line in tuple(self._idle)]
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(line.close() for line in lines), return_exceptions=True)

    async def _acquire(self) -> Line:
        while self._idle:
            line = self._take(next(reversed(self._idle)))
            if not line.is_closed:
                return line
            self._release(line)
        if self._closed:
            raise ConnectionError("the store was closed")
        waiter: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._attempt_if_wanted()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            elif waiter.exception() is None:
                self._release(waiter.result())
            raise

    async def _run(self, line: Line, sql: str, arguments: tuple[object, ...]) -> object:
        # In a task of its own: an answer that nobody awaited any more would else be the next caller's.
        query = self._spawn(self._query(line, sql, arguments))
        try:
            return await self._shielded(query)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(_GRACE, query.cancel)
            raise

    async def _query(self, line: Line, sql: str, arguments: tuple[object, ...]) -> object:
        try:
            return await line.fetchval(sql, arguments)
        except (*GONE, asyncio.CancelledError):
            line.terminate()
            raise
        finally:
            self._release(line)

    def _release(self, line: Line) -> None:
        line.used = True
        if not line.is_closed:
            self._hand_over(line)
            return
        self._open -= 1
        self._attempt_if_wanted()

    def _hand_over(self, line: Line) -> None:
        if self._closed:
            line.terminate()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(line)
                return
        until = asyncio.get_running_loop().time() + self._idle_close
        self._idle[line] = self._spawn(self._rest(line, until))

    def _take(self, line: Line) -> Line:
        self._idle.pop(line).cancel()
        return line

    async def _rest(self, line: Line, until: float) -> None:
        """Close an idle line when its time is over, or before, where the server has hardly any left for others."""
        now = asyncio.get_running_loop().time
        pause = uniform(*_FIRST_LOOK)
        while True:
            await asyncio.sleep(max(0.0, min(until - now(), pause if self._asks else self._idle_close)))
            if now() < until and len(self._idle) < self._open:
                continue  # others are at work: a caller may want this one, and asking takes it away for a round trip
            itself = self._idle.pop(line)  # from here on nobody can take it, which would cancel this
            try:
                if now() >= until or await line.is_crowded():
                    await line.close()
            except BaseException:
                line.terminate()
                self._release(line)
                raise
            if line.is_closed or self._waiters:
                self._release(line)
                return
            self._idle[line] = itself
            pause *= 2

    def _attempt_if_wanted(self) -> None:
        if self._waiters and self._open < self._most:
            self._attempting()

    def _attempting(self) -> asyncio.Task[None]:
        # One attempt at a time: whoever waits behind it has its line after one query, sooner than one of his own.
        if self._closed:
            raise ConnectionError("the store was closed")
        if self._attempt is None:
            self._attempt = self._spawn(self._open_one())
        return self._attempt

    async def _open_one(self) -> None:
        try:
            line = await self._turn()
            if not self._waiters:
                await line.rehearse()
        except Exception as error:
            if not self._open:
                self._refuse_waiters(error)
            raise
        finally:
            self._attempt = None
        self._open += 1
        self._hand_over(line)
        self._attempt_if_wanted()

    async def _turn(self) -> Line:
        now = asyncio.get_running_loop().time
        until = now() + _PATIENCE
        while True:
            try:
                return await self._connect()
            except asyncpg.TooManyConnectionsError:
                if now() > until:
                    raise
            await asyncio.sleep(uniform(*_TURN))

    def _refuse_waiters(self, error: Exception) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    def _spawn(self, work: Coroutine[object, object, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # who wanted it has it; nobody else need hear of it

    async def _shielded(self, task: asyncio.Task[_T]) -> _T:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise ConnectionError("the store was closed") from None
            raise
