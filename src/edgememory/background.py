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
    the group. On trio, use it as `async with`, within one task.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._group: TaskGroup | None = None
        self._stack = AsyncExitStack()
        self._closing: asyncio.Event | None = None
        self._owner: asyncio.Task[None] | None = None

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
        if not _on_asyncio():
            self._group = await self._stack.enter_async_context(anyio.create_task_group())
            return
        opened = asyncio.Event()
        self._closing = asyncio.Event()
        self._owner = asyncio.create_task(self._own(opened, self._closing), name="edgememory")
        await opened.wait()

    async def _own(self, opened: asyncio.Event, closing: asyncio.Event) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            opened.set()
            await closing.wait()
            group.cancel_scope.cancel()

    async def aclose(self) -> None:
        """Cancel every task and wait until all have ended."""
        group, self._group = self._group, None
        if group is None:
            return
        if self._owner is None or self._closing is None:
            group.cancel_scope.cancel()
            await self._stack.aclose()
            return
        self._closing.set()
        with anyio.CancelScope(shield=True):
            await self._owner

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
