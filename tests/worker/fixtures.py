"""The Worker for a test."""

from collections.abc import Iterator

import pytest

from tests.worker.server import WorkerServer, worker_server

__all__ = ["empty_worker", "own_worker", "shared_worker", "worker"]


@pytest.fixture(scope="session")
def shared_worker() -> Iterator[WorkerServer]:
    with worker_server() as server:
        yield server


@pytest.fixture
def worker(shared_worker: WorkerServer) -> Iterator[WorkerServer]:
    """One server for all tests, which take keys of their own; its faults end with the test. Never restart it."""
    yield shared_worker
    shared_worker.break_down()


@pytest.fixture
def empty_worker(worker: WorkerServer) -> WorkerServer:
    """`worker`, with nothing in any outbox."""
    worker.empty_outboxes()
    return worker


@pytest.fixture
def own_worker() -> Iterator[WorkerServer]:
    """A server that the test may restart."""
    with worker_server() as server:
        yield server
