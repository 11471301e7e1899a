"""The Worker on workerd, Cloudflare's own runtime, on loopback; and what a test does to it behind its back."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from edgememory.keys import entry_key
from edgememory.lab.servers.worker import TOKEN
from edgememory.lab.servers.worker import WorkerServer as LabWorkerServer
from edgememory.models import UserKey

__all__ = ["NEXT_TOKEN", "READ_TOKEN", "TOKEN", "WorkerServer", "worker_server"]

NEXT_TOKEN, READ_TOKEN = "next-token", "read-token"

_BINDINGS = {"TOKENS": f"{TOKEN} {NEXT_TOKEN}", "READ_TOKENS": READ_TOKEN}


class WorkerServer(LabWorkerServer):
    """The lab's, whose surroundings a test has in its hands.

    The methods after `restart` ask `faults.mjs`, and not the Worker.
    """

    def __init__(self) -> None:
        super().__init__(bindings=_BINDINGS, surroundings=Path(__file__).with_name("faults.mjs"))

    def restart(self) -> None:
        """Kill it and start it anew on what it had written, at another port."""
        self.stop()
        self.start()

    def break_down(self, **faults: float) -> None:
        """Have these faults from now on, and no others. Nothing named: be whole."""
        self._ask("faults", faults)

    def kv_writes(self, key: str) -> list[dict[str, object]]:
        """Return what was written to KV under *key*, and when, in milliseconds."""
        return list(self._ask("writes", {"key": key}))

    def in_kv(self, key: str) -> str | None:
        value: str | None = self._ask("kv", {"key": key})["value"]
        return value

    def pending_ids(self, user: UserKey, secret: str | None = None) -> list[str]:
        return list(self._ask("pending", {"key": entry_key(user, secret=secret)}))

    def damage(self, user: UserKey, id: str, body: str, secret: str | None = None) -> None:
        self._ask("damage", {"key": entry_key(user, secret=secret), "id": id, "body": body})

    def keep_of(self, key: str) -> float:
        """Return for how many seconds more the object keeps the entry."""
        seconds: float = self._ask("keep", {"key": key})
        return seconds

    def raw(self, key: str) -> bytes | None:
        """Return what the object holds."""
        found: list[int] | None = self._ask("raw", {"key": key})
        return None if found is None else bytes(found)

    def spoil(self, key: str, value: bytes) -> None:
        """Put these bytes in the place of the object's entry."""
        self._ask("spoil", {"key": key, "bytes": list(value)})

    def ring(self, key: str, *, after_silence: bool = True) -> None:
        """Let the alarm of the object ring now: as if nothing had been put for a minute, or in the midst of a call."""
        self._ask("alarm", {"key": key, "afterSilence": after_silence})

    def wipe_index(self) -> None:
        self._ask("wipe", {})

    def empty_outboxes(self) -> None:
        """Drop all changes, dead letters and floors, and the index."""
        self._ask("empty", {})

    def _ask(self, what: str, body: object) -> Any:
        # Without `verify=False` every call reads the authorities of TLS, which is not used here: 20 ms.
        return httpx.post(f"{self.url}/test/{what}", json=body, timeout=30, verify=False).raise_for_status().json()


@contextmanager
def worker_server() -> Generator[WorkerServer]:
    server = WorkerServer()
    try:
        server.start()
        yield server
    finally:
        server.close()
