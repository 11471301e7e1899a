"""From parts to a runtime: what opening an `EdgeMemory` puts together, and what it looks into before the first call."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio

from edgememory.background import Background
from edgememory.changes import Change
from edgememory.errors import StoreError
from edgememory.extract.extraction import Extraction
from edgememory.freshness import Policy
from edgememory.outbox.delivery import Delivery, DeliveryPolicy
from edgememory.outbox.writer import OutboxWriter
from edgememory.parts import Parts
from edgememory.recall.embedder import Embedder
from edgememory.runtime import OpenSessions, Runtime
from edgememory.store import LocalFile, Outbox
from edgememory.stores.memory import InMemoryStore
from edgememory.telemetry import Counters
from edgememory.tier import CacheTier, OriginTier, ReplicaTier, store_timeout
from edgememory.tiered import TieredStore

_log = logging.getLogger("edgememory")

CONNECT_TIMEOUT = 5.0
HEAD_START = 0.02
"""A process of one call opens its session at once. Connecting, with as much to compute, lets that go first: seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an `EdgeMemory` was told, beyond its parts."""

    namespace: str
    policy: Policy
    delivery: DeliveryPolicy
    now: Callable[[], float]
    monotonic: Callable[[], float]


async def opened(
    parts: Parts, stack: AsyncExitStack, settings: Settings, counters: Counters, *, deliver: bool
) -> Runtime:
    """Start the background work, and begin to open the connections; *stack* ends and closes all of it.

    With *deliver*, the outbox is emptied here, what it brings to the origin is extracted here, and whether all works is
    looked at before anything else. Without it, nothing is waited for: the process that delivers has looked.

    Raises:
        ConfigError: the embedder does not fit the origin's vectors.
    """
    background = Background(counters)
    await background.open()
    stack.push_async_callback(background.aclose)
    sessions = OpenSessions()
    tiered = TieredStore(
        background=background,
        near=InMemoryStore(monotonic=settings.monotonic),
        caches=parts.caches,
        origin=parts.origin,
        replica=parts.replica,
        policy=settings.policy,
        now=settings.now,
        monotonic=settings.monotonic,
        counters=counters,
        on_newer=sessions.adopt,
        is_open=sessions.of,
    )
    extraction: Extraction | None = None

    def delivered(changes: Sequence[Change]) -> None:
        if extraction is not None:
            extraction.committed(changes)

    delivery = Delivery(
        outbox=parts.outbox,
        origin=parts.origin.store,
        offer=tiered.offer,
        background=background,
        counters=counters,
        policy=settings.delivery,
        on_settled=sessions.settle,
        on_delivered=delivered,
        now=settings.now,
    )
    if parts.embedder is not None and deliver:
        await _checked_embedder(parts.embedder, parts.origin)
    if parts.extractor is not None:
        extraction = Extraction(
            origin=parts.origin.store,
            outbox=parts.outbox,
            extractor=parts.extractor,
            publish=delivery.publish,
            namespace=settings.namespace,
            counters=counters,
            policy=parts.extraction,
        )
    runtime = Runtime(
        background=background,
        outbox=parts.outbox,
        writer=OutboxWriter(parts.outbox),
        tiered=tiered,
        delivery=delivery,
        delivers=deliver,
        sessions=sessions,
        embedder=parts.embedder,
        extraction=extraction,
        counters=counters,
        now=settings.now,
    )
    if deliver:
        await _looked_into(parts.outbox)
    background.start(runtime.writer.run)
    if deliver:
        background.start(delivery.run)
        if extraction is not None:
            background.start(extraction.run)
    elif parts.embedder is not None:
        background.start(_loaded, parts.embedder)
    background.start(connect if deliver else _connect_behind, runtime)
    return runtime


def close_with(stack: AsyncExitStack, parts: Parts) -> None:
    """Have *stack* close the stores and the models."""
    stack.push_async_callback(_shielded, parts.outbox.aclose)
    stack.push_async_callback(_shielded, parts.origin.store.aclose)
    for tier in parts.caches:
        stack.push_async_callback(_shielded, tier.store.aclose)
    if parts.replica is not None:
        stack.push_async_callback(_shielded, parts.replica.store.aclose)
    for model in (parts.embedder, parts.extractor):
        if model is not None:
            stack.push_async_callback(_shielded, model.aclose)


def open_files(parts: Parts) -> None:
    """Open the stores that are files of this host. One that is broken is reported by whoever uses it."""
    for store in (parts.outbox, *(tier.store for tier in parts.caches)):
        if isinstance(store, LocalFile):
            try:
                store.open()
            except StoreError as error:
                _log.info("not open ahead of the first request: %s", error)


async def connect(runtime: Runtime) -> None:
    """Open a connection to each cache, to a replica and to the origin: the first caller must not pay for them."""
    async with anyio.create_task_group() as group:
        group.start_soon(_warmed, runtime.tiered.origin)
        for cache in runtime.tiered.caches:
            group.start_soon(_warmed, cache)
        if runtime.tiered.replica is not None:
            group.start_soon(_warmed, runtime.tiered.replica)


async def _connect_behind(runtime: Runtime) -> None:
    with anyio.move_on_after(HEAD_START):
        await runtime.sessions.first.wait()
    await connect(runtime)


async def _shielded(close: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await close()


async def _looked_into(outbox: Outbox) -> None:
    """Open it before the first caller comes. One that is broken is said now; the agent talks all the same."""
    try:
        with store_timeout(CONNECT_TIMEOUT, store="outbox", operation="depth"):
            depth = await outbox.depth()
    except StoreError as error:
        _log.error("nothing will be durable until the outbox works: %s", error)
    else:
        if depth.changes or depth.dead:
            _log.info("the outbox holds %d undelivered changes and %d dead letters", depth.changes, depth.dead)


async def _warmed(tier: CacheTier | ReplicaTier | OriginTier) -> None:
    try:
        with store_timeout(CONNECT_TIMEOUT, store=tier.name, operation="warm"):
            await tier.store.warm()
        tier.answered = True
    except StoreError as error:
        _log.info("no connection ahead of the first request: %s", error)


async def _loaded(embedder: Embedder) -> None:
    try:
        await embedder.warm()
    except StoreError as error:
        _log.info("the embedder is not ready ahead of the first request: %s", error)


async def _checked_embedder(embedder: Embedder, origin: OriginTier) -> None:
    """Refuse one whose vectors could be compared with none: said now, and not by each search."""
    try:
        await embedder.warm()
        with store_timeout(CONNECT_TIMEOUT, store=origin.name, operation="check_embedder"):
            await origin.store.check_embedder(embedder.model, embedder.dimensions)
    except StoreError as error:
        _log.warning("nobody knows whether the embedder fits the origin: %s", error)
