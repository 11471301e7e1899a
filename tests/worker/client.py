"""The entry protocol as tests speak it: plain requests, no client of ours."""

import time
from collections.abc import Callable
from urllib.parse import quote
from uuid import uuid4

import httpx

from tests.worker.server import TOKEN, WorkerServer

USER = {"namespace": "clinic", "user_id": "anna"}


def new_key() -> str:
    return f"em:1:clinic:{uuid4().hex}"


def caller(worker: WorkerServer, token: str = TOKEN) -> httpx.Client:
    # Without `verify=False` each reads the authorities of TLS, which is not used here: 20 ms.
    return httpx.Client(base_url=worker.url, headers={"Authorization": f"Bearer {token}"}, timeout=30, verify=False)


def path(key: str) -> str:
    return f"/v1/entries/{quote(key, safe='')}"


def outbox(key: str, action: str = "") -> str:
    return f"/v1/outbox/{quote(key, safe='')}{action}"


def order_headers(order: str, keep: float = 3600, *, tombstone: bool = False) -> dict[str, str]:
    headers = {"Edgememory-Order": order, "Edgememory-Keep": str(keep)}
    return {**headers, "Edgememory-Tombstone": "1"} if tombstone else headers


def put(client: httpx.Client, key: str, text: str, order: str, keep: float = 3600, **kind: bool) -> httpx.Response:
    return client.put(path(key), content=text, headers=order_headers(order, keep, **kind))


def changes(*ids: str, body: str = "said") -> list[dict[str, str]]:
    return [{"id": id, "body": body} for id in ids]


def append(client: httpx.Client, key: str, *ids: str, now: float = 100.0, body: str = "said") -> httpx.Response:
    return client.post(outbox(key), json={"user": USER, "changes": changes(*ids, body=body), "now": now})


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    return answer.status_code, error["code"]


def eventually(is_so: Callable[[], bool]) -> None:
    """Wait for what the Worker does behind its answers; the test's own time limit ends it."""
    while not is_so():
        time.sleep(0.02)
