"""Tasks that no caller owns: they outlive whoever started them, and end when their owner closes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeVarTuple

import anyio
from anyio.abc import TaskGroup

from edgememory.errors import EdgeMemoryError
from edgememory.telemetry import Counters

_log = logging.getLogger("edgememory")
_Args = TypeVarTuple("_Args")


class Background:
    """One task group. A task that raises is logged and counted; it never takes the others with it.

    On asyncio `open` and `aclose` may be called from different tasks, since frameworks do: a task of its own holds
    the group. On trio, use it as `async with`, within one task. Cancelling the one who opened it cancels no task here:
    leaving a session under cancellation still needs them. Only closing does.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._group: TaskGroup | None = None
        self._stack = AsyncExitStack()
        self._closing: anyio.Event | None = None

    def start(self, function: Callable[[*_Args], Awaitable[object]], *args: *_Args) -> None:
        """Run *function* soon.

        Raises:
            EdgeMemoryError: it was not opened, or is closed.
        """
        if self._group is None:
            raise EdgeMemoryError("not open: enter it with `async with`, or await its open() first")
        self._group.start_soon(self._guarded, function, args)

    async def _guarded(self, function: Callable[[*_Args], Awaitable[object]], args: tuple[*_Args]) -> None:
        try:
            await function(*args)
        except Exception:
            self._counters.background_errors += 1
            _log.exception("a background task failed; this is a bug in edgememory or in a store")

    async def open(self) -> None:
        """Start on the running event loop."""
        opened, closing = anyio.Event(), anyio.Event()
        self._closing = closing
        try:
            if _on_asyncio():
                owner = asyncio.create_task(self._own(opened, closing), name="edgememory")
                self._stack.push_async_callback(_ended, owner)
            else:
                around = await self._stack.enter_async_context(anyio.create_task_group())
                around.start_soon(self._own, opened, closing)
            await opened.wait()
        except BaseException:
            await self.aclose()
            raise

    async def _own(self, opened: anyio.Event, closing: anyio.Event) -> None:
        try:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as group:
                    self._group = group
                    opened.set()
                    await closing.wait()
                    group.cancel_scope.cancel()
        finally:
            self._group = None  # only now: a task may start another one until it is told to end

    async def aclose(self) -> None:
        """Cancel every task and wait until all have ended."""
        if self._closing is not None:
            self._closing.set()
            await self._stack.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


async def _ended(owner: asyncio.Task[None]) -> None:
    with anyio.CancelScope(shield=True):
        await asyncio.wait([owner])  # unlike `await owner`, it does not hand on the cancellation of who waits


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
