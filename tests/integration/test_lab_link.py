"""The link delays, and changes nothing else: order, content and throughput are the real thing."""

import hashlib
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from edgememory.lab.link import Link, measure_echo, wan_link

ROUND_TRIP = 0.02

PARENT = """
import os, sys
from edgememory.lab.link import Link
link = Link("127.0.0.1", 9, round_trip=0.0)
if {fork} is False or os.fork() == 0:
    print(link.echo_port, flush=True)
sys.stdin.read()
os._exit(0)
"""


class Digest(socketserver.BaseRequestHandler):
    """Answers a whole stream, once it has ended, with the stream's digest and the stream itself."""

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that vanishes
            content = read_all(self.request)
            self.request.sendall(hashlib.sha256(content).digest() + content)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture
def target() -> Iterator[int]:
    with Server(("127.0.0.1", 0), Digest) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def link(target: int) -> Iterator[Link]:
    link = Link("127.0.0.1", target, round_trip=ROUND_TRIP)
    yield link
    link.close()


def connect(link: Link, *, echo: bool = False) -> socket.socket:
    return socket.create_connection((link.host, link.echo_port if echo else link.port))


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def exchange(link: Link, content: bytes) -> bytes:
    """Send, end, and receive: the end crosses the link in each direction too."""
    with connect(link) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def echoed(connection: socket.socket, message: bytes) -> bytes:
    connection.sendall(message)
    return connection.recv(len(message), socket.MSG_WAITALL)


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_megabytes_arrive_whole_and_in_order_in_both_directions(link: Link) -> None:
    content = os.urandom(24 << 20)
    answer = exchange(link, content)
    assert answer[:32] == hashlib.sha256(content).digest()
    assert answer[32:] == content


def test_many_small_messages_keep_their_order(link: Link) -> None:
    messages = [f"{number:8}".encode() for number in range(20_000)]
    with connect(link) as connection:
        for message in messages:
            connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection)[32:] == b"".join(messages)


def test_reading_never_waits_for_the_delay(target: int) -> None:
    # One chunk a round trip would take a quarter of an hour. It is more than the link holds in flight, too.
    slow = Link("127.0.0.1", target, round_trip=1.0)
    content = bytes(100 << 20)
    assert exchange(slow, content)[:32] == hashlib.sha256(content).digest()
    slow.close()


async def test_every_echo_takes_a_round_trip(target: int) -> None:
    async with wan_link("127.0.0.1", target, round_trip=ROUND_TRIP) as link:
        echo = await measure_echo(link, 50)
    assert ROUND_TRIP <= echo.p50 <= echo.p99


def test_each_message_takes_a_round_trip_of_its_own(link: Link) -> None:
    with connect(link, echo=True) as connection:
        echoed(connection, b"connected")
        connection.sendall(b"first")
        time.sleep(ROUND_TRIP / 4)
        sent = time.monotonic()
        assert echoed(connection, b"second") == b"firsts"
        assert connection.recv(5, socket.MSG_WAITALL) == b"econd"
        assert time.monotonic() - sent >= ROUND_TRIP


@pytest.fixture
def connected() -> Iterator[tuple[socket.socket, socket.socket, float]]:
    """Both ends of a new connection over a link, and when the client began to connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = Link("127.0.0.1", listener.getsockname()[1], round_trip=ROUND_TRIP)
        started = time.monotonic()
        with connect(link) as near, listener.accept()[0] as far:
            yield near, far, started
        link.close()


def test_connecting_costs_a_round_trip_before_the_first_byte_of_a_client(
    connected: tuple[socket.socket, socket.socket, float],
) -> None:
    near, far, started = connected
    near.sendall(b"a")
    far.recv(1)
    assert time.monotonic() - started >= 1.5 * ROUND_TRIP


def test_connecting_costs_as_much_before_the_first_byte_of_a_server(
    connected: tuple[socket.socket, socket.socket, float],
) -> None:
    near, far, started = connected
    far.sendall(b"a")
    near.recv(1)
    assert time.monotonic() - started >= 2 * ROUND_TRIP


def test_a_target_that_refuses_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    link = Link("127.0.0.1", port, round_trip=ROUND_TRIP)
    with connect(link) as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    link.close()


def test_a_cut_link_resets_and_refuses_until_it_heals(link: Link) -> None:
    with connect(link, echo=True) as connection:
        assert echoed(connection, b"before") == b"before"
        link.cut()
        with pytest.raises(ConnectionResetError):
            echoed(connection, b"during")
    with pytest.raises(ConnectionRefusedError):
        connect(link)
    link.cut()
    link.heal()
    with connect(link, echo=True) as connection:
        assert echoed(connection, b"after") == b"after"


def test_a_link_that_hangs_accepts_and_forwards_nothing_until_it_heals(link: Link) -> None:
    with connect(link, echo=True) as old:
        echoed(old, b"before")
        link.hang()
        with connect(link, echo=True) as new:
            for connection in (old, new):
                connection.sendall(b"during")
                connection.settimeout(5 * ROUND_TRIP)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(None)
            link.heal()
            for connection in (old, new):
                assert connection.recv(6, socket.MSG_WAITALL) == b"during"


def test_a_link_that_hangs_can_be_cut(link: Link) -> None:
    with connect(link, echo=True) as connection:
        link.hang()
        link.cut()
        with pytest.raises(ConnectionResetError):
            echoed(connection, b"anything")
    link.heal()
    with connect(link, echo=True) as connection:
        assert echoed(connection, b"after") == b"after"


def test_a_client_that_vanishes_leaves_the_link_working(link: Link) -> None:
    for _ in range(20):
        with connect(link) as connection:
            connection.sendall(bytes(1 << 20))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert exchange(link, b"still here")[32:] == b"still here"


@pytest.mark.parametrize("fork", [False, True], ids=["alone", "with a forked child"])
def test_the_link_ends_with_its_parent(fork: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(fork=fork)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    with socket.create_connection(("127.0.0.1", int(parent.stdout.readline()))) as connection:
        assert echoed(connection, b"alive") == b"alive"
        parent.kill()
        assert has_ended(connection)
    parent.communicate()


def timed_echoes(link: Link, count: int) -> list[float]:
    with connect(link, echo=True) as connection:
        echoed(connection, b"connected")
        times: list[float] = []
        for _ in range(count):
            sent = time.monotonic()
            echoed(connection, b"message")
            times.append(time.monotonic() - sent)
        return times


def test_jitter_adds_to_the_round_trip_and_reorders_nothing(target: int) -> None:
    link = Link("127.0.0.1", target, round_trip=ROUND_TRIP, jitter=ROUND_TRIP)
    times = timed_echoes(link, 50)
    messages = [f"{number:8}".encode() for number in range(2_000)]
    assert exchange(link, b"".join(messages))[32:] == b"".join(messages)
    with connect(link) as connection:
        for message in messages:
            connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection)[32:] == b"".join(messages)
    link.close()
    assert min(times) >= ROUND_TRIP
    assert max(times) - min(times) > ROUND_TRIP / 4


def test_a_lost_segment_stalls_what_comes_behind_it_and_loses_nothing(target: int) -> None:
    link = Link("127.0.0.1", target, round_trip=ROUND_TRIP, loss=0.3)
    times = timed_echoes(link, 20)  # 40 segments: that none is lost happens once in 1.5 million runs
    content = os.urandom(1 << 20)
    assert exchange(link, content)[32:] == content
    link.close()
    assert max(times) >= 0.2 + 2 * ROUND_TRIP


def test_a_link_takes_another_shape_while_it_runs(link: Link) -> None:
    with connect(link, echo=True) as connection:
        echoed(connection, b"connected")
        link.reshape(round_trip=10 * ROUND_TRIP)
        sent = time.monotonic()
        echoed(connection, b"far")
        assert time.monotonic() - sent >= 10 * ROUND_TRIP
        connection.sendall(b"slow")
        link.reshape(round_trip=0.0)
        assert echoed(connection, b"fast") == b"slow"
        assert connection.recv(4, socket.MSG_WAITALL) == b"fast"


@pytest.mark.parametrize(
    "shape",
    [
        {"round_trip": -0.1},
        {"round_trip": float("nan")},
        {"round_trip": float("inf")},
        {"round_trip": 0.1, "jitter": -0.1},
        {"round_trip": 0.1, "loss": 1.0},
        {"round_trip": 0.1, "loss": -0.1},
    ],
)
def test_a_shape_that_no_link_has_is_refused(link: Link, shape: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"a round trip|a loss"):
        Link("127.0.0.1", 9, **shape)
    with pytest.raises(ValueError, match=r"a round trip|a loss"):
        link.reshape(**shape)
    assert exchange(link, b"as before")[32:] == b"as before"
