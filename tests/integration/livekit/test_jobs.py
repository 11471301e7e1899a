"""Real job processes of a real agent server: whatever ends a call, what was said in it is kept, and delivered."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from anyio import to_thread

from edgememory.models import UserKey
from edgememory.outbox.file import FileOutbox
from tests.raw_postgres import raw_connection

pytestmark = pytest.mark.anyio

PROGRAM = Path(__file__).with_name("agent_server.py")
PATIENCE = 110.0
"""Seconds, on a machine that is busy."""
CROWD = 20


class Server:
    """The program, and what it and its jobs are told."""

    def __init__(self, command: str, folder: Path, dsn: str, *rooms: str, drain_timeout: int = 60) -> None:
        self.folder = folder
        told = {"FOLDER": str(folder), "ROOMS": " ".join(rooms), "DRAIN_TIMEOUT": str(drain_timeout)}
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, command],
            env=os.environ | settings(folder, dsn) | told,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # its jobs are of its group
        )

    def wait(self) -> None:
        _, errors = self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode == 0, errors

    def wait_until(self, name: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / name).exists():
            assert self._process.poll() is None, self._process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def settings(folder: Path, dsn: str) -> Mapping[str, str]:
    return {
        "EDGEMEMORY_ORIGIN_DSN": dsn,
        "EDGEMEMORY_OUTBOX_PATH": str(folder / "outbox.sqlite"),
        "EDGEMEMORY_OUTBOX_DURABLE_DISK": "true",
        "LIVEKIT_URL": "ws://127.0.0.1:9",  # nobody answers
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "0123456789abcdef0123456789abcdef",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


async def said_by(dsn: str, user: str) -> list[tuple[str, str, bool]]:
    """Read what the origin has of a user, past the library."""
    async with raw_connection(dsn) as raw:
        rows = await raw.fetch(
            "SELECT role, text, interrupted FROM edgememory.messages WHERE user_id = $1 ORDER BY id", user
        )
    return [(row["role"], row["text"].strip(), row["interrupted"]) for row in rows]


def first_words(user: str) -> list[tuple[str, str, bool]]:
    return [("user", f"I am {user}", False), ("assistant", f"You said: I am {user}", False)]


async def waiting_in(folder: Path) -> int:
    outbox = FileOutbox(folder / "outbox.sqlite")
    depth = await outbox.depth()
    await outbox.aclose()
    return depth.changes


async def test_whatever_ends_a_call_all_of_it_is_at_the_origin_when_the_server_ends(
    tmp_path: Path, migrated_database: str
) -> None:
    crowd = [f"user-{number}" for number in range(CROWD)]
    rooms = ["shutdown:ann", "hang-up:bert", "cut-off:cara", *(f"crowd:{user}" for user in crowd), "drained:dora"]
    server = Server("serve", tmp_path, migrated_database, *rooms)
    try:
        await to_thread.run_sync(server.wait)
    finally:
        server.kill()
    for user in ("ann", "bert", *crowd):
        assert await said_by(migrated_database, user) == first_words(user)
    assert await said_by(migrated_database, "cara") == [
        *first_words("cara"),
        ("user", "Count to ten", False),
        ("assistant", "You", True),
    ]
    assert await said_by(migrated_database, "dora") == [
        *first_words("dora"),
        ("user", "Good bye", False),
        ("assistant", "You said: Good bye", False),
    ]
    assert await waiting_in(tmp_path) == 0


async def test_sigterm_ends_a_server_after_all_that_was_said_is_at_the_origin(
    tmp_path: Path, migrated_database: str
) -> None:
    server = Server("start", tmp_path, migrated_database, "told-to-end:ann", drain_timeout=1)
    try:
        await to_thread.run_sync(server.wait_until, "is-talking")
        server.signal(signal.SIGTERM)
        await to_thread.run_sync(server.wait)
    finally:
        server.kill()
    assert await said_by(migrated_database, "ann") == first_words("ann")
    assert await waiting_in(tmp_path) == 0


async def test_what_was_said_survives_the_server_and_its_job_at_once(tmp_path: Path, migrated_database: str) -> None:
    server = Server("start", tmp_path, "postgresql://nobody@127.0.0.1:9/away", "told-to-end:ann")
    try:
        await to_thread.run_sync(server.wait_until, "is-talking")
        while await waiting_in(tmp_path) < 2:
            pass
    finally:
        server.kill()
    outbox = FileOutbox(tmp_path / "outbox.sqlite")
    pending = await outbox.pending(UserKey("default", "ann"))
    await outbox.aclose()
    assert len(pending.changes) == 2
