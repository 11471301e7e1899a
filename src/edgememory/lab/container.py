"""An agent in a process of its own, to be killed: ``python -m edgememory.lab.container``.

Its configuration is its environment. It reads one line of JSON, what each user says, prints the id of each user whose
words are durable, then an empty line, and waits.
"""

import sys
from collections.abc import Sequence

import anyio
import msgspec
from anyio import to_thread

from edgememory.client import EdgeMemory
from edgememory.config import config_from_env
from edgememory.lab.site import LEASE
from edgememory.outbox.delivery import DeliveryPolicy
from edgememory.parts import configured

_AT_ONCE = 8
_PATIENCE = 30.0


async def talk() -> None:
    goodbyes = msgspec.json.decode(await to_thread.run_sync(sys.stdin.readline), type=dict[str, list[str]])
    config = config_from_env()
    limit = anyio.CapacityLimiter(_AT_ONCE)
    async with EdgeMemory(
        configured(config), namespace=config.namespace, delivery=DeliveryPolicy(lease=LEASE)
    ) as memory:

        async def say(user: str, texts: Sequence[str]) -> None:
            async with limit, memory.session(user, leave_timeout=_PATIENCE) as session:
                for text in texts:
                    session.add_message("user", text)
            if session.durable:
                print(user, flush=True)

        async with anyio.create_task_group() as group:
            for user, texts in goodbyes.items():
                group.start_soon(say, user, texts)
        print(flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(talk)
