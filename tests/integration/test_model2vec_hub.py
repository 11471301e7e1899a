"""Models from the Hugging Face hub: from its cache, and where it cannot be reached. Nothing leaves this machine."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.loopback import LoopbackServer, serving
from tests.tiny_model import save_tiny_model


def on_hub(cache: Path, **environment: str) -> str:
    """Embed with a model of the hub, in a process of its own: it reads its settings when it is imported."""
    program = (
        "import anyio; from edgememory.recall.model2vec import Model2VecEmbedder\n"
        "try: print(anyio.run(Model2VecEmbedder('owner/tiny').embed, ['tea']))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HUB_CACHE": str(cache), "HF_HOME": str(cache), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_what_was_downloaded_once_needs_no_hub(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "models--owner--tiny" / "snapshots" / "0123")
    assert on_hub(tmp_path, HF_ENDPOINT="http://127.0.0.1:1") == "[[1.0, 0.0, 0.0]]"


def test_a_hub_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    assert on_hub(tmp_path, HF_ENDPOINT="http://127.0.0.1:1").startswith("StoreUnavailableError model2vec.load:")


def test_a_model_that_the_hub_does_not_have_is_told(tmp_path: Path) -> None:
    with serving(LoopbackServer(_NoSuchModel)) as hub:
        said = on_hub(tmp_path, HF_ENDPOINT=hub.url)
    assert said.startswith("StoreBlockedError model2vec.load: there is no model 'owner/tiny' on the hub")


class _NoSuchModel(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the name is http.server's

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_without_the_extra_the_error_names_it() -> None:
    program = "import sys; sys.modules['model2vec'] = None; import edgememory.recall.model2vec"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert "pip install 'edgememory[model2vec]'" in done.stderr
