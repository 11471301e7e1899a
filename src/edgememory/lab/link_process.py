"""The process of an `edgememory.lab.link.Link`: a TCP proxy that delays, and changes nothing else.

Each chunk is stamped when it is read and written in order when its time has come; reading never waits for the
delay, so throughput has no cap but memory. Run by path, without site-packages: it imports the standard
library only.

Arguments: target host, target port, and the shape: round trip, jitter and loss. It prints its port and its echo port,
then answers each command on its standard input with a line, and ends when its input does or its parent dies.
"""

import heapq
import os
import random
import select
import selectors
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import NamedTuple, TextIO

CHUNK = 1 << 16
WAKING = 0.0002  # a process that sleeps is woken 0.15 to 0.25 ms too late (run): sleep less, and look until it is time
IN_FLIGHT_LIMIT = 1 << 26  # bytes a direction: 890 MB/s at 75 ms one way
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

# What a lone segment's loss costs on Linux: the retransmission timer never fires before the round trip and 200 ms, its
# least variance (TCP_RTO_MIN in include/net/tcp.h; RFC 6298 says 1 s), and the timer doubles with each further loss.
LEAST_TIMEOUT = 0.2
LONGEST_JITTER = 10.0  # times the mean: one draw in 22,000 is cut there

Address = tuple[str, int]
Watchable = socket.socket | TextIO | int


class Shape(NamedTuple):
    """How a link delays. Seconds, and the share of segments that are lost."""

    round_trip: float
    jitter: float
    loss: float

    def one_way(self) -> float:
        """Draw how long a segment is under way. Queues only ever add: jitter is exponential, with half in each way."""
        delay = self.round_trip / 2
        if self.jitter:
            mean = self.jitter / 2
            delay += min(random.expovariate(1 / mean), LONGEST_JITTER * mean)
        timeout = self.round_trip + LEAST_TIMEOUT
        while random.random() < self.loss:
            delay += timeout
            timeout *= 2
        return delay


class Wire:
    """The loop: what is readable now, what is due now, and whether the link is up, hung or cut."""

    def __init__(self, target: Address, shape: Shape) -> None:
        self.shape = shape
        self.connections: set[Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._hung = False
        self._listeners: list[socket.socket] = []
        echo = _listener(0)
        self._listen(echo, partial(Echo, self))
        first, second = _listener(0), _listener(0)
        self._routes: dict[int, Address] = {_port(first): target, _port(second): ("127.0.0.1", _port(echo))}
        self._open(first, second)

    @property
    def ports(self) -> list[int]:
        """Where clients connect: to the target, and to an echo over the same link."""
        return list(self._routes)

    def run(self) -> None:
        while True:
            wait = None if self._hung or not self._due else max(0.0, self._due[0][0] - WAKING - monotonic())
            # Epoll's own timeout is in whole milliseconds; select's is in microseconds.
            select.select([self._selector], [], [], wait)
            for key, events in self._selector.select(0):
                key.data(events)
            while self._due and not self._hung and self._due[0][0] <= monotonic():
                heapq.heappop(self._due)[2]()

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._due, (when, self._serial, call))

    def watch(self, file: Watchable, read: bool, write: bool, call: Callable[[int], None]) -> None:
        events = selectors.EVENT_READ * read | selectors.EVENT_WRITE * write
        watched = self._selector.get_map().get(file)
        if watched is None:
            if events:
                self._selector.register(file, events, call)
        elif not events:
            self._selector.unregister(file)
        elif watched.events != events:
            self._selector.modify(file, events, call)

    def cut(self) -> None:
        self._hung = False
        for listener in self._listeners:
            self.watch(listener, False, False, _ignore)
            listener.close()
        self._listeners.clear()
        for connection in tuple(self.connections):
            connection.reset()
        self._due.clear()

    def hang(self) -> None:
        self.heal()
        self._hung = True  # nothing is due any more: no byte arrives and no new connection reaches the target

    def heal(self) -> None:
        self._hung = False
        if not self._listeners:
            self._open(*(_listener(port) for port in self._routes))

    def _open(self, *listeners: socket.socket) -> None:
        for listener in listeners:
            self._listeners.append(listener)
            target = self._routes[_port(listener)]
            self._listen(listener, partial(Connection, self, target))

    def _listen(self, listener: socket.socket, accepted: Callable[[socket.socket], object]) -> None:
        def accept(_events: int) -> None:
            with suppress(OSError):  # the client has gone again
                accepted(listener.accept()[0])

        listener.setblocking(False)
        self.watch(listener, True, False, accept)


class Connection:
    """A client's connection and the one to the target that is opened for it.

    The client's connect() has returned before the proxy hears of it. So that setting up a connection costs
    what it does over a real link, the target sees it half a round trip later, and its first byte after one
    and a half.
    """

    def __init__(self, wire: Wire, target: Address, client: socket.socket) -> None:
        self.wire = wire
        self._target = target
        self._client = _configured(client)
        self._server = _configured(socket.socket())
        now = monotonic()
        round_trip = wire.shape.round_trip
        self._up = Flow(self, self._client, self._server, now + 1.5 * round_trip)
        self._down = Flow(self, self._server, self._client, now + 2 * round_trip)
        self._connected = False
        wire.connections.add(self)
        wire.at(now + round_trip / 2, self._connect)
        self.watch()

    def _connect(self) -> None:
        if self in self.wire.connections:
            self._connected = True
            with suppress(BlockingIOError, ConnectionRefusedError):  # the next read says which it was
                self._server.connect(self._target)
            self.watch()

    def watch(self) -> None:
        """Tell the loop what this connection waits for now."""
        self.wire.watch(self._client, self._up.reading, self._down.blocked, self._client_is_ready)
        if self._connected:
            self.wire.watch(self._server, self._down.reading, self._up.blocked, self._server_is_ready)

    def _client_is_ready(self, events: int) -> None:
        self._advance(events, self._up, self._down)

    def _server_is_ready(self, events: int) -> None:
        self._advance(events, self._down, self._up)

    def _advance(self, events: int, incoming: "Flow", outgoing: "Flow") -> None:
        if events & selectors.EVENT_WRITE:
            outgoing.release()
        if events & selectors.EVENT_READ and incoming.reading:
            incoming.receive()

    def broken(self, flow: "Flow") -> None:
        """*flow* cannot be written any more: its sender learns it as late as over a real link."""
        (self._down if flow is self._up else self._up).end(reset=True)

    def finish(self) -> None:
        if self._up.finished and self._down.finished:
            self._close()

    def reset(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._close()

    def _close(self) -> None:
        self.wire.connections.discard(self)
        self._up.stop()
        self._down.stop()
        self.watch()
        self._client.close()
        self._server.close()


class Flow:
    """One direction of a connection: chunks, each with the time at which it arrives."""

    def __init__(self, connection: Connection, source: socket.socket, target: socket.socket, opens: float) -> None:
        self.blocked = False  # the target's buffer is full
        self.finished = False
        self._connection = connection
        self._wire = connection.wire
        self._source = source
        self._target = target
        self._arrives = opens  # nothing before; later, when the last chunk does
        self._queue: deque[tuple[float, bytes | None]] = deque()  # b"" is the end, None a reset
        self._in_flight = 0
        self._ended = False
        self._full = False

    @property
    def reading(self) -> bool:
        return not self._ended and not self._full

    def receive(self) -> None:
        try:
            chunk = self._source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.end(reset=True)
            return
        if not chunk:
            self.end(reset=False)
            return
        self._append(chunk)
        self._in_flight += len(chunk)
        if self._in_flight > IN_FLIGHT_LIMIT:
            self._full = True
            self._connection.watch()

    def end(self, *, reset: bool) -> None:
        self._ended = True
        self._append(None if reset else b"")
        self._connection.watch()

    def stop(self) -> None:
        self._ended = True
        self._full = self.blocked = False
        self._queue.clear()

    def release(self) -> None:
        """Write what has arrived by now, and come back for the rest."""
        while self._queue and self._queue[0][0] <= monotonic():
            if not self._write(*self._queue.popleft()):
                return
        if self._queue:
            self._wire.at(self._queue[0][0], self.release)
        if self.blocked or self._full:
            self.blocked = False
            self._full = self._in_flight > IN_FLIGHT_LIMIT / 2
            self._connection.watch()

    def _append(self, chunk: bytes | None) -> None:
        """Nothing overtakes: what comes after a late segment waits behind it, as TCP makes it wait."""
        when = self._arrives = max(monotonic() + self._wire.shape.one_way(), self._arrives)
        if not self._queue:
            self._wire.at(when, self.release)
        self._queue.append((when, chunk))

    def _write(self, when: float, chunk: bytes | None) -> bool:
        """Whether the flow goes on with the next chunk."""
        if chunk is None:
            self._connection.reset()
        elif not chunk:
            self._finish()
        else:
            return self._send(when, chunk)
        return False

    def _send(self, when: float, chunk: bytes) -> bool:
        try:
            sent = self._target.send(chunk)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.stop()
            self._connection.broken(self)
            return False
        self._in_flight -= sent
        if sent == len(chunk):
            return True
        self._queue.appendleft((when, chunk[sent:]))
        self.blocked = True
        self._connection.watch()
        return False

    def _finish(self) -> None:
        with suppress(OSError):
            self._target.shutdown(socket.SHUT_WR)
        self.finished = True
        self.blocked = False
        self._connection.watch()
        self._connection.finish()


class Echo:
    """Sends back what it receives. For messages far smaller than a socket's buffer only."""

    def __init__(self, wire: Wire, peer: socket.socket) -> None:
        self._wire = wire
        self._peer = _configured(peer)
        wire.watch(peer, True, False, self._is_ready)

    def _is_ready(self, _events: int) -> None:
        with suppress(OSError):
            if chunk := self._peer.recv(CHUNK):
                self._peer.send(chunk)
                return
        self._wire.watch(self._peer, False, False, self._is_ready)
        self._peer.close()


def _configured(end: socket.socket) -> socket.socket:
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return end


def _listener(port: int) -> socket.socket:
    """Listen on *port*, or on a free one below those that the kernel gives to outgoing connections.

    A client that retries while the link is cut could be given such a port, and would then talk to itself.
    """
    while True:
        try:
            return socket.create_server(("127.0.0.1", port or random.randrange(20_000, 32_000)), backlog=1024)
        except OSError:
            if port:
                raise


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def _ignore(_events: int) -> None:
    return None


def _obey(wire: Wire) -> None:
    commands = {"cut": wire.cut, "hang": wire.hang, "heal": wire.heal}
    command = sys.stdin.readline().split()
    if not command:
        sys.exit()
    if command[0] == "shape":
        wire.shape = Shape(*map(float, command[1:]))
    else:
        commands[command[0]]()
    print("done", flush=True)


def main() -> None:
    parent = os.getppid()
    host, port, *shape = sys.argv[1:]
    wire = Wire((host, int(port)), Shape(*map(float, shape)))
    wire.watch(sys.stdin, True, False, lambda _events: _obey(wire))
    if sys.platform == "linux":
        # A forked child of the parent may keep our standard input open.
        wire.watch(os.pidfd_open(parent), True, False, lambda _events: sys.exit())
    print(*wire.ports, flush=True)
    wire.run()


if __name__ == "__main__":
    main()
