"""How long a server of the lab lives: as long as a block, in a folder that goes with it."""

import secrets
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from anyio import CancelScope, to_thread


class Server(Protocol):
    """What can be started and closed; both block."""

    def start(self) -> None: ...
    def close(self) -> None: ...


_S = TypeVar("_S", bound=Server)


@asynccontextmanager
async def started(server: _S) -> AsyncGenerator[_S]:
    try:
        await to_thread.run_sync(server.start)
        yield server
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(server.close)


def temporary_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"edgememory-{secrets.token_hex(8)}"
