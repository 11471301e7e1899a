"""Tries out each part of a configuration from where this runs, with a user whom nobody else has."""

import time
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from statistics import quantiles

from msgspec import Struct

from edgememory.changes import PreferenceSet
from edgememory.config import (
    CacheConfig,
    Config,
    FileOutboxConfig,
    HostCacheConfig,
    OutboxConfig,
    WorkersCacheConfig,
    WorkersOutboxConfig,
    here,
    type_of,
)
from edgememory.doctor.models import embedder_part, extractor_part
from edgememory.doctor.network import Place, place_of
from edgememory.doctor.report import Part, Report, Waits
from edgememory.doctor.steps import Steps, Tried, Wrong, milliseconds_since
from edgememory.ids import next_id
from edgememory.models import Claim, Entry, Snapshot, UserKey
from edgememory.parts import configured_cache, configured_origin, configured_outbox, configured_replica
from edgememory.store import CacheStore, MemoryStore, Outbox
from edgememory.stores.entry_protocol import WorkerClient

READS = 20
PROBE_KEPT = 60.0


class _Seen(Struct, frozen=True):
    cold_ms: float | None = None
    warm_ms: Waits | None = None
    location: str | None = None


async def examine(config: Config, *, region: str | None = None) -> Report:
    """Try out every part of *config*, one after the other. Never raises for what it finds.

    Leaves an empty entry in each cache for a minute. The origin is only read: what is written there stays there. Models
    are asked once each, about a made-up sentence.
    """
    parts = [
        await _store("origin", "postgres", config.origin.dsn, configured_origin(config.origin), config.origin.timeout)
    ]
    for cache in config.caches:
        health = _health(cache) if isinstance(cache, WorkersCacheConfig) else None
        store = configured_cache(cache, config.key_secret)
        parts.append(
            await _store(cache.name, type_of(cache), _at(cache), store, cache.timeout, cache=store, health=health)
        )
    if config.replica is not None:
        for server in config.replica.servers:
            alone = configured_replica(config.replica, only=server.name)
            parts.append(await _store(server.name, "replica", server.dsn, alone, config.replica.timeout))
    parts.append(await _outbox(config))
    if config.embedder is not None:
        parts.append(await embedder_part(config.embedder, config.origin))
    if config.extractor is not None:
        parts.append(await extractor_part(config.extractor))
    return Report(region=here(region), parts=tuple(parts))


def _at(cache: CacheConfig) -> str:
    return cache.path if isinstance(cache, HostCacheConfig) else cache.url


async def _store(
    name: str,
    kind: str,
    url: str,
    store: MemoryStore,
    timeout: float,
    *,
    cache: CacheStore | None = None,
    health: Tried[str | None] | None = None,
) -> Part:
    examination, place = Steps(), place_of(url)
    seen = _Seen()
    try:
        seen = await _read(examination, place, store, cache, health)
    except Wrong:
        pass
    finally:
        await store.aclose()
    return Part(
        name=name,
        type=kind,
        at=str(place or "this host"),
        steps=tuple(examination.taken),
        cold_ms=seen.cold_ms,
        warm_ms=seen.warm_ms,
        timeout_ms=timeout * 1000,
        location=seen.location,
        notes=() if cache is not None else ("only read: nothing is written there",),
    )


async def _read(
    examination: Steps,
    place: Place | None,
    store: MemoryStore,
    cache: CacheStore | None,
    health: Tried[str | None] | None,
) -> _Seen:
    probe = UserKey("edgememory-doctor", token_hex(8))
    await examination.reach(place)
    location = None if health is None else await examination.step("health", health)
    started = time.perf_counter()
    await examination.step("authenticate", store.warm)
    await examination.step("get" if cache is not None else "schema and get", lambda: store.get(probe))
    cold = milliseconds_since(started)
    if cache is not None:
        await _put(examination, cache, probe)
    warm = [(await examination.timed("read", lambda: store.get(probe)))[1] for _ in range(READS)]
    return _Seen(cold, _waits(warm), location)


async def _put(examination: Steps, cache: CacheStore, probe: UserKey) -> None:
    entry = Entry(snapshot=Snapshot(version=1, exists=False), synced_at=round(time.time(), 6))

    async def get_back() -> None:
        if await cache.get(probe) != entry:
            raise OSError("what was put is not what is read: does something else write there, or does it forget?")

    await examination.step("put", lambda: cache.put(probe, entry, keep=PROBE_KEPT))
    await examination.step("get back", get_back)


async def _outbox(config: Config) -> Part:
    examination, url = Steps(), _address(config.outbox)
    place = place_of(url)
    outbox: Outbox = configured_outbox(config)
    notes: tuple[str, ...] = ()
    location: str | None = None
    try:
        await examination.reach(place)
        if isinstance(config.outbox, FileOutboxConfig):
            await examination.step("folder", lambda: _folder(Path(url)))
        if isinstance(config.outbox, WorkersOutboxConfig):
            location = await examination.step("health", _health(config.outbox))
        depth = await examination.step("authenticate", outbox.depth)
        notes = (f"waiting now: {depth.changes} changes of {depth.users} users; dead letters: {depth.dead}",)
        await _append(examination, outbox)
    except Wrong:
        pass
    finally:
        await outbox.aclose()
    return Part(
        name="outbox",
        type=type_of(config.outbox),
        at=str(place or url),
        steps=tuple(examination.taken),
        location=location,
        notes=notes,
    )


async def _append(examination: Steps, outbox: Outbox) -> None:
    """Append a change and take it out again, at once: nobody is to deliver it."""
    probe = UserKey("edgememory-doctor", token_hex(8))
    change = PreferenceSet(id=next_id(), session_id="doctor", session_started=time.time(), name="probe", value=1)

    async def get_back() -> None:
        if (await outbox.pending(probe)).changes != (change,):
            raise OSError("what was appended does not wait there: does another program use this outbox?")

    try:
        await examination.step("append", lambda: outbox.append(probe, [change]))
        await examination.step("get back", get_back)
    finally:
        await examination.step("acknowledge", lambda: outbox.ack(Claim(probe, (change,), "doctor"), [change.id], 0))


async def _folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise OSError(f"there is no folder {path.parent}: is the volume mounted?")


def _health(config: WorkersCacheConfig | WorkersOutboxConfig) -> Tried[str | None]:
    async def ask() -> str | None:
        client = WorkerClient(config.url, config.token, key_secret=None, store="workers", client=None)
        try:
            return (await client.health("health")).location
        finally:
            await client.aclose()

    return ask


def _address(outbox: OutboxConfig) -> str:
    return outbox.path if isinstance(outbox, FileOutboxConfig) else outbox.url


def _waits(times: Sequence[float]) -> Waits:
    cuts = quantiles(times, n=100, method="inclusive")
    return Waits(round(cuts[49], 3), round(cuts[98], 3))
