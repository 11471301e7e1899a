"""A link to a far region: a TCP proxy in a process of its own that adds half a round trip in each direction.

`link_process` says how it delays. What a proxy cannot do: connect() returns at once, also through a link that
hangs, and is refused at once by one that is cut. The price of connecting is added before the first byte
instead.
"""

import math
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import NamedTuple

from anyio import to_thread

_PROCESS = Path(__file__).with_name("link_process.py")
_PARALLEL_ECHOES = 10


class Echo(NamedTuple):
    """How long a message and its echo take over a link, in seconds."""

    p50: float
    p99: float


class Link:
    """A proxy for one target. It ends with this process, however that ends.

    The commands return when they are in effect (about a millisecond): they may be called from a coroutine.
    """

    host = "127.0.0.1"

    def __init__(
        self, target_host: str, target_port: int, *, round_trip: float, jitter: float = 0.0, loss: float = 0.0
    ) -> None:
        """Times are in seconds; what they mean is said at `reshape`. Connections to `echo_port` come back from an echo.

        Raises:
            ValueError: as `reshape`.
        """
        shape = _checked(round_trip, jitter, loss)
        self.round_trip = round_trip
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", _PROCESS, target_host, str(target_port), *shape],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C at the terminal is for us; it ends when we do
        )
        self.port, self.echo_port = (int(port) for port in self._answer().split())

    def reshape(self, *, round_trip: float, jitter: float = 0.0, loss: float = 0.0) -> None:
        """Delay what is sent from now on in another way.

        Args:
            round_trip: the least that a message and its answer take.
            jitter: what is added on average, at random and one-sided, as queues do. Nothing is overtaken.
            loss: the share of segments, from 0 to below 1, that have to be sent again: such a one, and what comes
                behind it, stalls for the round trip and 200 ms, as on Linux.

        Raises:
            ValueError: a time is negative or not a number, or all would be lost.
        """
        shape = _checked(round_trip, jitter, loss)
        self.round_trip = round_trip
        self._command(" ".join(("shape", *shape)))

    def cut(self) -> None:
        """Reset all connections, on both sides, and refuse new ones."""
        self._command("cut")

    def hang(self) -> None:
        """Accept connections and forward nothing; `heal` then lets through what was sent meanwhile."""
        self._command("hang")

    def heal(self) -> None:
        self._command("heal")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _command(self, command: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(f"{command}\n")
            self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        answer = "" if self._process.stdout is None else self._process.stdout.readline()
        if not answer:
            raise RuntimeError("The process of the link has ended: its standard error says why.")
        return answer


@asynccontextmanager
async def wan_link(
    target_host: str, target_port: int, *, round_trip: float = 0.150, jitter: float = 0.0, loss: float = 0.0
) -> AsyncGenerator[Link]:
    """A `Link` for the duration of the block; the target need not be up yet."""
    make = partial(Link, target_host, target_port, round_trip=round_trip, jitter=jitter, loss=loss)
    link = await to_thread.run_sync(make)
    try:
        yield link
    finally:
        link.close()


def _checked(round_trip: float, jitter: float, loss: float) -> list[str]:
    if not (0 <= round_trip < math.inf and 0 <= jitter < math.inf):
        raise ValueError(f"a round trip and its jitter are seconds, 0 or more: not {round_trip!r} and {jitter!r}")
    if not 0 <= loss < 1:
        raise ValueError(f"a loss is the share of segments that are lost, from 0 to below 1: not {loss!r}")
    return [str(float(each)) for each in (round_trip, jitter, loss)]


async def measure_echo(link: Link, count: int) -> Echo:
    """Time *count* echoes over the link: the yardstick for everything else that goes over it."""
    times = await echo_times(link, count)
    return Echo(p50=_percentile(times, 0.50), p99=_percentile(times, 0.99))


async def echo_times(link: Link, count: int) -> list[float]:
    """Time *count* echoes over the link and return each, in seconds."""
    return await to_thread.run_sync(_measure, link, count)


def _measure(link: Link, count: int) -> list[float]:
    lanes = min(count, _PARALLEL_ECHOES)
    shares = [count // lanes + (lane < count % lanes) for lane in range(lanes)]
    # The lanes start apart, so that they do not wait for each other's bytes.
    starts = [link.round_trip * lane / lanes for lane in range(lanes)]
    with ThreadPoolExecutor(lanes) as threads:
        return [time for lane in threads.map(partial(_echoes, link), shares, starts) for time in lane]


def _echoes(link: Link, count: int, start: float) -> list[float]:
    sleep(start)
    with socket.create_connection((link.host, link.echo_port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _echo(connection)  # pays for the connection
        return [_echo(connection) for _ in range(count)]


def _echo(connection: socket.socket) -> float:
    started = perf_counter()
    connection.sendall(b"x" * 64)
    if len(connection.recv(64, socket.MSG_WAITALL)) < 64:
        raise ConnectionError("The link was cut during the measurement.")
    return perf_counter() - started


def _percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[max(0, math.ceil(share * len(times)) - 1)]
