"""The bot as a process of its own, and what these tests need of Debian."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "pipecat_bot"


# The example is a program of its own: its modules are found beside it, as they are when it runs.
sys.path.insert(0, str(EXAMPLE))


def needs(*programs: str) -> None:
    """Skip, by name, what this machine has no program for; fail where everything is required."""
    for missing in (name for name in programs if shutil.which(name) is None):
        report = pytest.fail if os.environ.get("EDGEMEMORY_REQUIRE_ALL") else pytest.skip
        report(f"{missing} is missing: apt-get install {missing}")


def served(process: "subprocess.Popen[str]") -> Thread:
    """Wait until the server says that it serves, and read on what it says, or it would stop at a full pipe."""
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if "Uvicorn running" in line:
            break
    else:
        pytest.fail("".join(said))
    reading = Thread(target=deque, args=(process.stderr, 0))
    reading.start()
    return reading


@pytest.fixture(scope="session")
def bot_url() -> Iterator[str]:
    """The bot, served as the README says, with an empty memory; without keys, whatever the machine has."""
    needs("flite")
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        keyless = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))}
        environment = {**keyless, "PYTHON_DOTENV_DISABLED": "1", "EDGEMEMORY_FOLDER": f"{folder}/memory"}
        with subprocess.Popen(
            [
                *(sys.executable, EXAMPLE / "bot.py", "--host", "127.0.0.1", "--port", str(port)),
                *("--runner-body", EXAMPLE / "evals" / "caller.yaml"),
            ],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            reading = served(process)
            yield f"http://127.0.0.1:{port}"
            process.terminate()
            reading.join()
