"""A process of its own on an outbox file: `python -m tests.faults.outbox_process append|deliver PATH [NAME]`."""

import os
import sys
from pathlib import Path

import anyio

from edgememory.models import UserKey
from edgememory.outbox.file import FileOutbox
from edgememory.testing.outbox_contract import said

USERS = [UserKey("clinic", f"user-{number}") for number in range(5)]


async def append_for_ever(path: str) -> None:
    """Print each batch of ids when its append has returned."""
    outbox = FileOutbox(path)
    while True:
        for user in USERS:
            changes = [said("x" * 2_000) for _ in range(3)]
            await outbox.append(user, changes)
            print(*(change.id for change in changes), flush=True)


async def append_and_deliver(path: str, name: str) -> None:
    """Append 100 changes, and deliver whatever is found, to a log that stands for the origin."""
    outbox = FileOutbox(path)
    log = os.open(Path(path).with_suffix(".log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def deliver() -> int:
        claims = await outbox.claim(lease=600, limit=2)
        for claim in claims:
            lines = "".join(f"{name} {claim.user.user_id} {change.id}\n" for change in claim.changes)
            os.write(log, lines.encode())
            await outbox.ack(claim, [change.id for change in claim.changes], 1)
        return len(claims)

    for number in range(100):
        await outbox.append(USERS[number % len(USERS)], [said()])
        await deliver()
    while (await outbox.depth()).changes:
        await deliver()
    await outbox.aclose()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["append", path]:
            anyio.run(append_for_ever, path)
        case ["deliver", path, name]:
            anyio.run(append_and_deliver, path, name)
        case arguments:
            sys.exit(f"not understood: {arguments}")
