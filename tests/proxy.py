"""A TCP proxy that counts, and that loses answers on demand. For delays there is `edgememory.lab.link`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """`turns` counts round trips: how often the client spoke after the server had."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.connections = 0
        self.connected = asyncio.Event()
        self.turns = 0
        self.sent = bytearray()
        """What clients said."""
        self.open = asyncio.Event()
        """Cleared, it lets connections in and passes nothing on."""
        self.open.set()
        self.lose_answer = 0
        """Cut everything at the so-manieth answer of the server from now, and carry on with whoever comes back."""
        self._remembered = object()

    def dsn(self, dsn: str) -> str:
        return dsn.replace(f":{self._target_port}/", f":{self.port}/") + "?sslmode=disable"

    def forget(self) -> None:
        """Do as a firewall that has lost its table: whoever speaks on a connection of before is cut, and not before."""
        self._remembered = object()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.connected.set()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers |= {writer, far_writer}
        spoken = ["server"]
        for speaker, source, sink in (("client", reader, far_writer), ("server", far_reader, writer)):
            task = asyncio.create_task(self._carry(speaker, spoken, source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(
        self, speaker: str, spoken: list[str], source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        remembered = self._remembered
        with suppress(OSError):
            while chunk := await source.read(65_536):
                await self.open.wait()
                if speaker == "server" and self.lose_answer:
                    self.lose_answer -= 1
                    if not self.lose_answer:
                        self.cut()
                        return
                if remembered is not self._remembered:
                    sink.transport.abort()
                    return
                if speaker == "client":
                    self.sent += chunk
                self.turns += speaker == "client" and spoken[-1] == "server"
                spoken[:] = [speaker]
                sink.write(chunk)
                await sink.drain()
        sink.close()

    async def aclose(self) -> None:
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.accepted, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
