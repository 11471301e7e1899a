"""The real lab, with very few calls: what it measures here means nothing, what it reports must be right."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from uuid import uuid4

import msgspec
from rich.console import Console

from edgememory.changes import MessageAdded
from edgememory.ids import next_id
from edgememory.lab.calls import Ledger
from edgememory.lab.people import Person, people
from edgememory.lab.progress import shown_progress
from edgememory.lab.run import run
from edgememory.lab.table import show
from edgememory.lab.world import judged
from edgememory.stores.postgres import PostgresPrimary, migrate
from tests.servers import database, postgres_server

__all__ = ["database", "postgres_server"]

SCENARIOS = {
    "direct_new_connection", "direct_pooled", "cold", "cold_new_process", "edge", "warm", "stale", "callback",
    "origin_down", "edge_down", "edge_down_open",
}  # fmt: skip
CALLS_EACH = 3
CALLS = CALLS_EACH * (len(SCENARIOS) - 2 + 1)  # the direct ones say nothing, who calls back says something twice


async def test_the_report_has_every_scenario_and_counts_every_word() -> None:
    console = Console(file=StringIO(), width=100)
    with shown_progress(console) as progress:
        played = await run(CALLS_EACH, progress)
    report = played.report
    assert played.failures == []
    document = msgspec.to_builtins(report)
    assert set(document) == {
        "rtt_ms", "echo_ms", "open_ms", "leave_ms", "delivered", "lost", "single_flight"
    }  # fmt: skip
    assert document["rtt_ms"] == {"san_francisco": 150.0}
    assert set(document["open_ms"]["san_francisco"]) == SCENARIOS
    for waited in document["open_ms"]["san_francisco"].values():
        assert set(waited) == {"p50", "p95", "p99", "n"}
        assert waited["n"] == CALLS_EACH
    assert set(document["leave_ms"]["san_francisco"]) == {"up", "down"}
    assert {link: set(echo) for link, echo in document["echo_ms"].items()} == {
        "san_francisco-geneva": {"p50", "p99"},
        "san_francisco-edge": {"p50", "p99"},
    }
    assert (document["delivered"], document["lost"]) == (2 * CALLS, 0)
    assert document["single_flight"] == {"readers": 1000, "origin_reads": 1}
    show(played, judged(report), console)
    assert "cold_new_process" in console.file.getvalue()  # type: ignore[attr-defined]


async def test_what_is_not_in_the_database_once_counts_as_lost(database: str) -> None:
    await migrate(database)
    ledger, (anna, bert) = Ledger(), people("user", 2)
    texts = [ledger.new_text(person) for person in (anna, anna, anna, bert)]
    origin = PostgresPrimary(database)
    for person, text in [(anna, texts[0]), (anna, texts[1]), (anna, texts[1]), (anna, texts[3])]:
        await origin.commit(person.key, [_said(person, text)])
    await origin.aclose()
    assert await ledger.delivered(database) == 1  # the others: said twice, never there, another user's


def _said(person: Person, text: str) -> MessageAdded:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    return MessageAdded(
        id=next_id(), session_id=person.user_id, session_started=at.timestamp(), role="user", text=text, at=at
    )


def test_an_interrupted_lab_leaves_no_process_behind(tmp_path: Path) -> None:
    mark = f"EDGEMEMORY_TEST={uuid4().hex}"
    name, _, value = mark.partition("=")
    lab = subprocess.Popen(
        [sys.executable, "-c", "from edgememory.cli import main; main()", "lab", "--quick"],
        cwd=tmp_path,
        env={**os.environ, name: value},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert lab.stdout is not None
    with lab.stdout:
        assert any(line.startswith("direct_new_connection") for line in lab.stdout)
        assert len(_marked(mark)) > 4  # the servers' and the links' too: the mark finds them
        lab.send_signal(signal.SIGINT)
        assert lab.wait(timeout=30) != 0
    deadline = time.monotonic() + 20
    while _marked(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _marked(mark) == []


def _marked(mark: str) -> list[str]:
    """The command lines of all processes that were started with *mark* in their environment."""
    found: list[str] = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
