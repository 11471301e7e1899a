"""`edgememory work`."""

import logging
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio
import click

from edgememory.client import EdgeMemory
from edgememory.config import Config, config_from_env, read_config
from edgememory.errors import EdgeMemoryError, StoreError
from edgememory.extract.extraction import ExtractionPolicy
from edgememory.models import Depth
from edgememory.outbox.delivery import DeliveryPolicy
from edgememory.parts import configured
from edgememory.recall.embedder import Embedder
from edgememory.store import Outbox
from edgememory.stores.postgres.embeddings import open_embeddings
from edgememory.stores.postgres.heartbeat import heartbeats

_log = logging.getLogger("edgememory.work")

REPORT_EVERY = 60.0
CLOSE_TIMEOUT = 5.0
EMBED_EVERY = 2.0
"""How often to look for texts without vectors. Seconds."""
LOOK_EVERY = 10.0
"""How often to look for sessions whose agents ended before they were extracted. Seconds."""


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration; else the environment.")
@click.option("--region", help="Whose caches to keep current; else EDGEMEMORY_REGION, else FLY_REGION.")
def command(config: Path | None, region: str | None) -> None:
    """Deliver what waits in the outbox, until stopped.

    Adopts what ended agents have left, delivers it to the origin and shows it to the region's caches. Where replicas
    are configured, it also commits a heartbeat at the origin every 10 s, by which they tell how old their content is.
    SIGTERM or Ctrl-C ends it cleanly; what is left then waits for the next worker or agent.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        anyio.run(work, config_from_env() if config is None else read_config(config, region=region))
    except EdgeMemoryError as error:
        raise click.ClickException(str(error)) from error


async def work(config: Config) -> None:
    """Deliver until a signal says to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with AsyncExitStack() as stack:
            parts = await configured(config, extraction=ExtractionPolicy(poll=LOOK_EVERY))(stack)
            memory = EdgeMemory(
                parts,
                namespace=config.namespace,
                policy=config.policy,
                language=config.language,
                delivery=DeliveryPolicy(concurrency=config.origin.max_connections),  # nobody reads here
                close_timeout=CLOSE_TIMEOUT,
            )
            depth = await parts.outbox.depth()
            _log.info("delivering %d changes of %d users; dead letters: %d", depth.changes, depth.users, depth.dead)
            await stack.enter_async_context(memory)
            async with anyio.create_task_group() as group:
                group.start_soon(_report, memory, parts.outbox)
                if parts.embedder is not None:
                    group.start_soon(fill_in, config.origin.dsn, parts.embedder)
                if config.replica is not None:
                    group.start_soon(partial(heartbeats, config.origin.dsn, pooler=config.origin.pooler))
                async for number in signals:
                    _log.info("%s: delivering what is left, for at most %g s", number.name, CLOSE_TIMEOUT)
                    break
                group.cancel_scope.cancel()
            await memory.aclose()
            left = await parts.outbox.depth()
            await parts.outbox.aclose()
            _log.info("stopped after %d changes; %d wait", memory.counters.changes_delivered, left.changes)


async def fill_in(dsn: str, embedder: Embedder) -> None:
    """Give texts their vectors, as they come."""
    while True:
        try:
            async with open_embeddings(dsn, embedder) as embeddings:
                while True:
                    if not await embeddings.fill():
                        await anyio.sleep(EMBED_EVERY)
        except EdgeMemoryError as error:
            _log.warning("texts wait for their vectors: %s", error)
        except Exception:  # whatever a model's library raises: if this task ended, so would delivery
            _log.exception("texts wait for their vectors: an embedder failed as none may")
        await anyio.sleep(LOOK_EVERY)


async def _report(memory: EdgeMemory, outbox: Outbox) -> None:
    """Say every minute how it goes."""
    while True:
        await anyio.sleep(REPORT_EVERY)
        try:
            _log.info("%s", _state(memory, await outbox.depth()))
        except StoreError as error:
            _log.warning("cannot look into the outbox: %s", error)


def _state(memory: EdgeMemory, depth: Depth) -> str:
    counters = memory.counters
    state = f"delivered {counters.changes_delivered}, waiting {depth.changes} of {depth.users} users"
    if depth.oldest_age is not None:
        state += f" (the oldest for {depth.oldest_age:.0f} s)"
    state += f", dead letters {depth.dead}, failed tries {counters.delivery_failures}"
    return state if memory.blocked is None else f"{state}; blocked until somebody acts: {memory.blocked}"
