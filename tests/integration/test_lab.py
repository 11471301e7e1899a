"""The real lab, with very few calls: what it measures here means nothing, what it reports must be right."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

import edgememory.cli.lab as cli
from edgememory.changes import MessageAdded
from edgememory.ids import next_id
from edgememory.lab.assemble import assemble
from edgememory.lab.calls import Ledger
from edgememory.lab.geography import read_world
from edgememory.lab.page import picture, render
from edgememory.lab.people import Person, people
from edgememory.lab.progress import shown_progress
from edgememory.lab.report import Report
from edgememory.lab.run import Plan, run
from edgememory.lab.scenarios.playbook import SCENARIOS
from edgememory.lab.table import show
from edgememory.stores.postgres import PostgresPrimary, migrate
from edgememory.testing.history import Left, Made
from tests.servers import database, postgres_server

__all__ = ["database", "postgres_server"]

SMALL = """
name = "small"
origin = "dublin"
path_factor = 1.7
[jitter]
share = 0.02
source = "none"
[sources]
none = "Made up, so that a test is soon over."
[places]
berlin = { label = "Berlin", latitude = 52.5, longitude = 13.4 }
frankfurt = { label = "Frankfurt", latitude = 50.1, longitude = 8.7 }
dublin = { label = "Dublin", latitude = 53.3, longitude = -6.3 }
[kv.first_read]
milliseconds = 60
source = "none"
[kv.distant_object]
milliseconds = 30
source = "none"
[[callers]]
place = "berlin"
[[agents]]
place = "frankfurt"
hosts = ["our cluster"]
edge = "frankfurt"
[[replicas]]
place = "frankfurt"
[round_trip_ms.none]
berlin = { frankfurt = 2.0 }
frankfurt = { dublin = 25.0, frankfurt = 2.0 }
dublin = { dublin = 2.0 }
"""
CALLS_EACH = 2
SILENT = {"direct_new_connection", "direct_pooled", "cache_aside_1h"}
"""Without edgememory nothing is said."""
TWICE = {"callback", "travel", "unplugged"}
CALLS = CALLS_EACH * (len(SCENARIOS) - len(SILENT) + len(TWICE))


@pytest.fixture
def world_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


async def test_the_report_has_every_scenario_and_counts_every_word(world_file: Path) -> None:
    screen = StringIO()
    console = Console(file=screen, width=100)
    with shown_progress(console) as progress:
        plan = Plan(world=read_world(world_file), regions=("berlin",), scenarios=tuple(SCENARIOS), count=CALLS_EACH)
        report = assemble(plan, await run(plan, progress))
    assert report.failures == ()
    assert set(report.open_ms["berlin"]) == set(report.total_ms["berlin"]) == set(SCENARIOS)
    for scenario, waited in report.open_ms["berlin"].items():
        assert waited.n == CALLS_EACH
        assert report.total_ms["berlin"][scenario].p50 > waited.p50
    assert set(report.leave_ms["berlin"]) == {"up", "down"}
    assert set(report.newest_ms["berlin"]) == {"travel"}
    assert set(report.echo_ms) == {f"berlin-{far}" for far in ("user", "edge", "replica", "geneva")}
    assert (report.delivered, report.lost) == (2 * CALLS, 0)
    assert report.single_flight.origin_reads == 1
    assert report.requests["open"]["edge"] == 1
    assert 1 <= report.requests["background"]["geneva"] <= 2  # what waits is delivered together
    assert report.timeline is not None
    show(report, console)
    for shown in (screen.getvalue(), render(report)):
        assert all(scenario in shown for scenario in SCENARIOS)
    assert "Berlin" in picture(report)


def lab(
    folder: Path, *arguments: str, environment: Mapping[str, str] = os.environ
) -> "subprocess.CompletedProcess[str]":
    main = "from edgememory.cli import main; main(prog_name='edgememory')"
    return subprocess.run(
        [sys.executable, "-c", main, "lab", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_one_scenario_of_one_region_as_json(tmp_path: Path, world_file: Path) -> None:
    ended = lab(tmp_path, f"--world={world_file}", "--quick", "--region=berlin", "--scenario=edge", "--json")
    assert ended.returncode == 0, ended.stderr
    report = msgspec.json.decode(ended.stdout, type=Report)
    assert {region: list(by) for region, by in report.open_ms.items()} == {"berlin": ["edge"]}
    assert json.loads((tmp_path / "build/lab/report.json").read_text()) == json.loads(ended.stdout)
    assert (tmp_path / "build/lab/report.html").read_text(encoding="utf-8") == render(report)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--region=atlantis"], ["no region atlantis", "san_francisco"]),
        (["--scenario=luck"], ["no scenario luck", "edge_down"]),
        (["--world=nowhere.toml"], ["nowhere.toml"]),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    tmp_path: Path, arguments: Sequence[str], told: Sequence[str]
) -> None:
    ended = lab(tmp_path, *arguments)
    assert ended.returncode != 0
    assert all(words in ended.stderr for words in told), ended.stderr
    assert not (tmp_path / "build").exists()


def test_without_node_what_needs_it_is_refused(tmp_path: Path, world_file: Path) -> None:
    arguments = (f"--world={world_file}", "--quick", "--region=berlin")
    bare = {**os.environ, "PATH": "/nowhere"}
    refused = lab(tmp_path, *arguments, "--scenario=edge", "--scenario=unplugged", environment=bare)
    assert refused.returncode != 0
    assert refused.stderr == "Error: node not found: install Node 20 or later (Debian: apt install nodejs npm)\n"
    assert not (tmp_path / "build").exists()


def test_a_world_without_cloudflare_is_played_without_the_worker(
    tmp_path: Path, world_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr(cli, "play", lambda plan, as_json: plans.append(plan))
    world_file.write_text(SMALL[: SMALL.index("[kv")] + SMALL[SMALL.index("[[callers") :], encoding="utf-8")
    told = CliRunner().invoke(cli.command, [f"--world={world_file}"])
    without = "kv_warm_location, kv_cold_location, unplugged"
    assert told.stderr == f"without {without}: the world file says nothing of Cloudflare, in [kv]\n"
    assert [set(SCENARIOS) - set(plan.scenarios) for plan in plans] == [set(without.split(", "))]


async def test_what_is_not_in_the_database_once_counts_as_lost(database: str) -> None:
    await migrate(database)
    ledger, (anna, bert) = Ledger(), people("user", 2)
    texts = [ledger.new_text(person) for person in (anna, anna, anna, bert)]
    origin = PostgresPrimary(database)
    for person, text in [(anna, texts[0]), (anna, texts[1]), (anna, texts[1]), (anna, texts[3])]:
        await origin.commit(person.key, [_said(person, text)])
    await origin.aclose()
    ledger.history.add(_left_behind(anna, texts[1]))
    ledger.history.add(_left_behind(anna, texts[2]))
    ledger.history.add(Left(**_OF, session="s", durable=True, ended=False, user=anna.user_id))
    assert await ledger.delivered(database) == 1  # the others: said twice, never there, another user's
    assert [failure.rpartition("is at the origin ")[2] for failure in ledger.failures] == ["2 times", "0 times"]


_OF = {"at": 1.0, "began": 1.0, "process": "p", "host": "h", "region": "r"}


def _left_behind(person: Person, text: str) -> Made:
    return Made(**_OF, user=person.user_id, session="s", id=text, form="message", text=text, base=0, started=0.0)


def _said(person: Person, text: str) -> MessageAdded:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    return MessageAdded(
        id=next_id(), session_id=person.user_id, session_started=at.timestamp(), role="user", text=text, at=at
    )


def test_an_interrupted_lab_leaves_no_process_behind(tmp_path: Path) -> None:
    mark = f"EDGEMEMORY_TEST={uuid4().hex}"
    name, _, value = mark.partition("=")
    # A shell that runs the tests in the background has them, and what they start, ignore SIGINT.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    lab = subprocess.Popen(
        [sys.executable, "-c", f"{heeding}; from edgememory.cli import main; main()", "lab", "--quick"],
        cwd=tmp_path,
        env={**os.environ, name: value},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert lab.stdout is not None
    with lab.stdout:
        assert any("direct_new_connection: " in line for line in lab.stdout)
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
