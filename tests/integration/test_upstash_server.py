"""The server that our tests take for Upstash answers as its own client expects."""

import shutil
import subprocess
from pathlib import Path

from edgememory.lab.servers import RedisServer
from tests.upstash.server import TOKEN, upstash_server

FOLDER = Path(__file__).parents[1] / "upstash"


def test_upstash_s_own_client_finds_it_faithful(own_redis_server: RedisServer) -> None:
    node = shutil.which("node")
    assert node is not None, "node is not there: install Node 18 or later"
    assert (FOLDER / "node_modules").is_dir(), "Upstash's client is not installed: `make test` does it"
    with upstash_server(own_redis_server.port) as server:
        check = subprocess.run(
            [node, FOLDER / "check.mjs", server.url, TOKEN], capture_output=True, text=True, timeout=60, check=False
        )
    assert (check.returncode, check.stdout) == (0, "faithful\n"), check.stderr
