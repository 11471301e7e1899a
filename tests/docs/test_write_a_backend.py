"""The backend of "Write your own backend" passes its contract where its author would run it, and broken ones do not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.fences import fences

CODE = {
    name[1]: code
    for code in fences("docs/how-to/write-a-backend.md", "python")
    if (name := re.match(r"# (\w+\.py)\n", code)) is not None
}


def _run(folder: Path, *command: str) -> str:
    for name, code in CODE.items():
        if not (folder / name).exists():
            (folder / name).write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True, cwd=folder)
    return done.stdout + done.stderr


def _tested(folder: Path) -> str:
    return _run(folder, "-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider", ".").splitlines()[-1]


def test_the_page_has_what_it_promises() -> None:
    assert CODE.keys() == {"folder_store.py", "test_folder_store.py", "test_any_entry.py", "test_agent.py", "agent.py"}


def test_its_tests_pass(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d+ passed in .*", _tested(tmp_path))


def test_an_agent_runs_on_it(tmp_path: Path) -> None:
    assert _run(tmp_path, "agent.py") == "Lives in Lisbon\n"


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        ("if self._holds_newer(user, entry):", "if False:"),
        (
            "fcntl.flock(lock, fcntl.LOCK_EX)\n            yield",
            "with self.__dict__.setdefault('mine', __import__('threading').Lock()):\n                yield",
        ),
        ("min(keep, FOR_EVER)", "60"),
        ("except CorruptEntryError:\n                continue", "except ZeroDivisionError:\n                continue"),
        ("codec.encode(entry)", "codec.encode(entry)[:50]"),
        ("sha256(entry_key(user).encode())", "sha256(user.user_id.encode())"),
    ],
)
def test_a_broken_one_fails_them(sound: str, broken: str, tmp_path: Path) -> None:
    assert sound in CODE["folder_store.py"]
    (tmp_path / "folder_store.py").write_text(CODE["folder_store.py"].replace(sound, broken), encoding="utf-8")
    assert "failed" in _tested(tmp_path)
