"""Calls of agents whose edge is the Worker."""

import os
import sys
from collections.abc import Mapping, Sequence
from time import perf_counter

import anyio
import httpx
import msgspec
from anyio.streams.text import TextReceiveStream

from edgememory.keys import entry_key
from edgememory.lab.calls import Call, Expected
from edgememory.lab.people import NAMESPACE, Person
from edgememory.lab.scenarios.near import EVERY, EVERY_NEW_PROCESS, HUNG_UP, SOME_MINUTES, among, fill_edge
from edgememory.lab.servers.worker import TOKEN
from edgememory.lab.site import KEY_SECRET, Site
from edgememory.lab.stage import Stage

WORKER = Expected("workers")
_BARE_GET_EVERY = 0.1


async def kv_warm_location(stage: Stage) -> None:
    """The user called here a minute ago: their object is near, and the location has read their key."""
    persons = await stage.people("kv_warm_location")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)
    for person in persons:
        await stage.site.edge_beside.get(person.key)
    async with anyio.create_task_group() as group:
        group.start_soon(_bare_gets, stage, persons[0])
        await stage.calls("kv_warm_location", persons, EVERY, among(stage, WORKER))
        group.cancel_scope.cancel()


async def kv_cold_location(stage: Stage) -> None:
    """The user has always called elsewhere: their object is there, and this location has never read their key."""
    persons = await stage.people("kv_cold_location")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)
    keys = [entry_key(person.key, secret=KEY_SECRET) for person in persons]
    await anyio.to_thread.run_sync(stage.site.worker.server.move_elsewhere, keys)
    await stage.calls("kv_cold_location", persons, EVERY, among(stage, WORKER))


async def unplugged(stage: Stage) -> None:
    """All say goodbye, the container is killed while Geneva is away; 5 s later they call again, in new processes."""
    persons = await stage.people("unplugged")
    await fill_edge(stage.site, persons, age=SOME_MINUTES)
    stage.site.geneva.cut()
    try:
        last_words = await _goodbyes(stage, persons)
        await anyio.sleep(HUNG_UP)

        async def one(_: int, person: Person) -> Call:
            async with stage.site.agent() as agent:
                return await stage.ledger.call(agent, person, WORKER, shown=last_words[person.user_id])

        await stage.calls("unplugged", persons, EVERY_NEW_PROCESS, one)
    finally:
        stage.site.geneva.heal()


async def _goodbyes(stage: Stage, persons: Sequence[Person]) -> Mapping[str, str]:
    """Let everybody talk with an agent in a process of its own, kill that, and return what each said last."""
    goodbyes = {person.user_id: [stage.ledger.new_text(person) for _ in range(2)] for person in persons}
    command = [sys.executable, "-m", "edgememory.lab.container"]
    async with await anyio.open_process(command, env=os.environ | _settings(stage.site), stderr=None) as container:
        assert container.stdin is not None
        assert container.stdout is not None
        await container.stdin.send(msgspec.json.encode(goodbyes) + b"\n")
        told = ""
        async for text in TextReceiveStream(container.stdout):
            told += text
            if told.endswith("\n\n"):
                break
        container.kill()
    missing = goodbyes.keys() - set(told.split())
    if missing:
        stage.ledger.failures.append(f"unplugged: the container was not done with {', '.join(sorted(missing))}")
    return {user: texts[-1] for user, texts in goodbyes.items()}


def _settings(site: Site) -> dict[str, str]:
    return {
        "EDGEMEMORY_ORIGIN_DSN": site.origin_dsn,
        "EDGEMEMORY_WORKERS_URL": site.worker.url,
        "EDGEMEMORY_WORKERS_TOKEN": TOKEN,
        "EDGEMEMORY_KEY_SECRET": KEY_SECRET,
        "EDGEMEMORY_NAMESPACE": NAMESPACE,
    }


async def _bare_gets(stage: Stage, person: Person) -> None:
    """Time what the Worker takes of itself: one request after the other, past the link."""
    server = stage.site.worker.server
    url = f"{server.url}/v1/entries/{entry_key(person.key, secret=KEY_SECRET)}"
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        (await client.get(url)).raise_for_status()  # which opens the connection
        while True:
            started = perf_counter()
            await client.get(url)
            stage.samples.bare_gets.append(perf_counter() - started)
            await anyio.sleep(_BARE_GET_EVERY)
