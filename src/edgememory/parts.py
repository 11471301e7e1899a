"""The stores that an `EdgeMemory` is made of, and the ready-made assemblies of them."""

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgememory.config import (
    CacheConfig,
    Config,
    EmbedderConfig,
    ExtractorConfig,
    FileOutboxConfig,
    HostCacheConfig,
    Model2VecEmbedderConfig,
    OpenAIEmbedderConfig,
    OpenAIExtractorConfig,
    OriginConfig,
    OutboxConfig,
    RedisCacheConfig,
    RedisOutboxConfig,
    ReplicaConfig,
    RuleExtractorConfig,
    UpstashCacheConfig,
    WorkersCacheConfig,
    WorkersOutboxConfig,
)
from edgememory.extract.extraction import ExtractionPolicy
from edgememory.extract.extractor import Extractor
from edgememory.outbox.memory import MemoryOutbox
from edgememory.recall.embedder import Embedder
from edgememory.store import CacheStore, NearStore, OriginStore, Outbox, ReplicaStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.tier import CacheTier, NearTier, OriginTier, ReplicaTier, Tier

if TYPE_CHECKING:
    from edgememory.outbox.file import FileOutbox
    from edgememory.outbox.redis import RedisOutbox
    from edgememory.outbox.workers import WorkersOutbox

EMBEDDED_POLL = 60.0
"""How often an embedded memory looks for sessions that a process has left behind in dying. Seconds."""
ORIGIN_TIMEOUT = 2.0
"""Seconds. A first request may have to connect, which takes seven round trips: 1.1 s over a link of 150 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an `EdgeMemory` is made of. It closes the stores when it is closed."""

    origin: OriginTier
    outbox: Outbox
    caches: Sequence[CacheTier] = ()
    """This region's, nearest first; process memory stands before them in any case."""
    replica: ReplicaTier | None = None
    embedder: Embedder | None = None
    """Makes vectors of queries; those of what was said are made by `edgememory work`."""
    extractor: Extractor | None = None
    """Reads the sessions that have ended; without one, none awaits it."""
    extraction: ExtractionPolicy = field(default_factory=ExtractionPolicy)


Assemble = Callable[[AsyncExitStack], Awaitable[Parts]]
"""Makes the parts while the memory is opened; what it enters on the stack is left after they are closed."""


async def in_memory(stack: AsyncExitStack) -> Parts:
    """Everything in process memory: for tests of agents, and for a first look."""
    origin: OriginStore = InMemoryOrigin()
    return Parts(origin=Tier(name="origin", store=origin, timeout=ORIGIN_TIMEOUT), outbox=MemoryOutbox())


def embedded(folder: str | os.PathLike[str]) -> Assemble:
    """Postgres in *folder*, shared by the processes that open it, with a file outbox beside it."""

    async def assemble(stack: AsyncExitStack) -> Parts:
        from edgememory.embedded import embedded_postgres
        from edgememory.extract.rules import RuleExtractor
        from edgememory.outbox.file import FileOutbox
        from edgememory.stores.postgres import PostgresPrimary, migrate

        server = await stack.enter_async_context(embedded_postgres(Path(folder) / "postgres"))
        await migrate(server.dsn)
        origin: OriginStore = PostgresPrimary(server.dsn)
        return Parts(
            origin=Tier(name="origin", store=origin, timeout=ORIGIN_TIMEOUT),
            outbox=FileOutbox(Path(folder) / "outbox.sqlite"),
            extractor=RuleExtractor(),
            extraction=ExtractionPolicy(poll=EMBEDDED_POLL),
        )

    return assemble


def configured(config: Config, *, extraction: ExtractionPolicy | None = None) -> Assemble:
    """What a configuration describes. Drivers are loaded only for what it names."""

    async def assemble(stack: AsyncExitStack) -> Parts:
        return Parts(
            origin=Tier(name="origin", store=configured_origin(config.origin), timeout=config.origin.timeout),
            caches=_caches(config),
            outbox=configured_outbox(config),
            replica=None if config.replica is None else _replica(config.replica),
            embedder=None if config.embedder is None else configured_embedder(config.embedder),
            extractor=None if config.extractor is None else configured_extractor(config.extractor),
            extraction=extraction or ExtractionPolicy(),
        )

    return assemble


def configured_embedder(config: EmbedderConfig) -> Embedder:
    """Make the embedder that a configuration describes; it loads and opens nothing before it is used."""
    match config:
        case OpenAIEmbedderConfig():
            from edgememory.recall.openai import OpenAIEmbedder

            return OpenAIEmbedder(
                config.url, config.token, model=config.model, dimensions=config.dimensions, timeout=config.timeout
            )
        case Model2VecEmbedderConfig():
            from edgememory.recall.model2vec import Model2VecEmbedder

            return Model2VecEmbedder(config.model)


def configured_extractor(config: ExtractorConfig) -> Extractor:
    """Make the extractor that a configuration describes; it opens nothing before it is used."""
    match config:
        case RuleExtractorConfig():
            from edgememory.extract.rules import RuleExtractor

            return RuleExtractor()
        case OpenAIExtractorConfig():
            from edgememory.extract.openai import OpenAIExtractor

            return OpenAIExtractor(config.url, config.token, model=config.model, timeout=config.timeout)


def configured_origin(config: OriginConfig) -> OriginStore:
    """Make the origin that a configuration describes; it opens nothing before it is used."""
    from edgememory.stores.postgres import PostgresPrimary

    return PostgresPrimary(config.dsn, max_connections=config.max_connections, pooler=config.pooler)


def configured_outbox(config: Config) -> "FileOutbox | RedisOutbox | WorkersOutbox":
    """Make the outbox that a configuration describes; it opens nothing before it is used."""
    match outbox := config.outbox:
        case FileOutboxConfig():
            from edgememory.outbox.file import FileOutbox

            return FileOutbox(outbox.path)
        case RedisOutboxConfig():
            from edgememory.outbox.redis import RedisOutbox

            return RedisOutbox(outbox.url, assume_durable=outbox.assume_durable)
        case WorkersOutboxConfig():
            from edgememory.outbox.workers import WorkersOutbox

            return WorkersOutbox(outbox.url, outbox.token, key_secret=config.key_secret)


def configured_replica(config: ReplicaConfig, *, only: str | None = None) -> ReplicaStore:
    """Make the replica that a configuration describes, of all its servers or of one."""
    from edgememory.stores.postgres import PostgresReplica

    return PostgresReplica(
        {server.name: server.dsn for server in config.servers if only in (None, server.name)},
        max_connections=config.max_connections,
        pooler=config.pooler,
    )


def _replica(config: ReplicaConfig) -> ReplicaTier:
    return Tier(name="replica", store=configured_replica(config), timeout=config.timeout)


def _caches(config: Config) -> Sequence[CacheTier]:
    return [_cache(config, cache) for cache in config.caches]


def _cache(config: Config, cache: CacheConfig) -> CacheTier:
    if isinstance(cache, HostCacheConfig):
        return NearTier(name=cache.name, store=configured_host(cache), timeout=cache.timeout)
    return Tier(
        name=cache.name,
        store=configured_cache(cache, config.key_secret),
        timeout=cache.timeout,
        beside_outbox=_is_beside(config.outbox, cache),
    )


def configured_host(config: HostCacheConfig) -> NearStore:
    """Make the host's cache that a configuration describes; it opens nothing before it is used."""
    from edgememory.stores.host import HostStore

    if not config.seal_keys:
        return HostStore(config.path, max_bytes=config.max_bytes)
    from edgememory.sealing import Sealing

    return HostStore(config.path, max_bytes=config.max_bytes, sealing=Sealing(config.seal_keys))


def _is_beside(outbox: OutboxConfig, cache: CacheConfig) -> bool:
    """Say whether both are in the same Durable Objects."""
    return (
        isinstance(outbox, WorkersOutboxConfig)
        and isinstance(cache, WorkersCacheConfig)
        and outbox.url.rstrip("/") == cache.url.rstrip("/")
    )


def configured_cache(config: CacheConfig, key_secret: str | None) -> CacheStore:
    """Make a cache that a configuration describes; it opens nothing before it is used."""
    match config:
        case HostCacheConfig():
            return configured_host(config)
        case RedisCacheConfig():
            from edgememory.stores.redis import RedisStore

            return RedisStore(config.url)
        case UpstashCacheConfig():
            from edgememory.stores.upstash import UpstashStore

            return UpstashStore(config.url, config.token, key_secret=key_secret)
        case WorkersCacheConfig():
            from edgememory.stores.workers_kv import WorkersKVStore

            return WorkersKVStore(config.url, config.token, key_secret=key_secret)
