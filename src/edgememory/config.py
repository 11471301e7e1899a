"""One TOML file, or the environment, as a checked configuration."""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar, cast

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from edgememory.errors import ConfigError, InvalidInputError
from edgememory.freshness import Policy
from edgememory.limits import LIMITS, check_text
from edgememory.recall.language import Language

_Seconds = Annotated[float, Meta(gt=0)]
_Count = Annotated[int, Meta(ge=1)]
_PostgresUrl = Annotated[str, Meta(pattern="^postgres(ql)?://")]
_RedisUrl = Annotated[str, Meta(pattern="^(rediss?|unix)://")]
_HttpUrl = Annotated[str, Meta(pattern="^https?://")]
_Name = Annotated[str, Meta(min_length=1)]
_Secret = Annotated[str, Meta(min_length=16)]
_S = TypeVar("_S", bound=Struct)


class OriginConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[origin]`: the Postgres that orders all writes."""

    dsn: _PostgresUrl
    timeout: _Seconds = 2.0
    """Includes connecting, where no connection is open: seven round trips."""
    max_connections: _Count = 2
    pooler: bool = False
    """Do without named statements, as PgBouncer needs it."""


class ReplicaServerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[replica.servers]]`: one streaming replica of the origin."""

    name: _Name
    dsn: _PostgresUrl


class ReplicaConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[replica]`: read-only copies of the origin. Each agent reads from the nearest that answers."""

    servers: Annotated[tuple[ReplicaServerConfig, ...], Meta(min_length=1)]
    timeout: _Seconds = 0.1
    max_connections: _Count = 2
    """To each of them."""
    pooler: bool = False


class RedisCacheConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="redis"):
    """`[[caches]]` of `type = "redis"`: Redis, Valkey, or Upstash over TCP."""

    url: _RedisUrl
    name: _Name = "redis"
    timeout: _Seconds = 0.05
    region: _Name | None = None
    """Only agents of this region use it; all do if it is left out."""


class UpstashCacheConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="upstash"
):
    """`[[caches]]` of `type = "upstash"`: Upstash over REST."""

    url: _HttpUrl
    token: _Name
    name: _Name = "upstash"
    timeout: _Seconds = 0.05
    region: _Name | None = None


class WorkersCacheConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="workers"
):
    """`[[caches]]` of `type = "workers"`: Workers KV, by the Worker that `edgememory cloudflare deploy` puts there."""

    url: _HttpUrl
    token: _Name
    name: _Name = "workers"
    timeout: _Seconds = 0.25
    """For the object of a user who has called from another continent until now."""
    region: _Name | None = None


class HostCacheConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="host"):
    """`[[caches]]` of `type = "host"`: a file that the processes of this host share."""

    path: _Name
    """On a local disk, or in memory, as `/dev/shm` is."""
    name: _Name = "host"
    timeout: _Seconds = 0.05
    max_bytes: _Count = 256 * 1024 * 1024
    seal_keys: tuple[_Secret, ...] = ()
    """32 random bytes each, in base64. The first seals what is kept; the others still open it."""
    region: _Name | None = None


CacheConfig = HostCacheConfig | RedisCacheConfig | UpstashCacheConfig | WorkersCacheConfig
"""`[[caches]]`: a cache, nearest first."""


class FileOutboxConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="file"):
    """`[outbox]` of `type = "file"`: changes wait in a SQLite file of the host."""

    path: _Name
    durable_disk: bool = False
    """Says that the disk outlives the process, as a container's own does not."""


class RedisOutboxConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="redis"):
    """`[outbox]` of `type = "redis"`: changes wait in a Redis of the region."""

    url: _RedisUrl
    assume_durable: bool = False
    """Says that the server keeps what it was told, where it does not say so itself."""


class WorkersOutboxConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="workers"
):
    """`[outbox]` of `type = "workers"`: changes wait in the Durable Objects of the Worker, one a user."""

    url: _HttpUrl
    token: _Name
    """One that may write."""


OutboxConfig = FileOutboxConfig | RedisOutboxConfig | WorkersOutboxConfig
"""`[outbox]`: where changes wait until the origin has them."""


class OpenAIEmbedderConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="openai"
):
    """`[embedder]` of `type = "openai"`: a model on any server that speaks OpenAI's embeddings."""

    url: _HttpUrl
    """Up to the version: `https://api.openai.com/v1`."""
    token: _Name
    model: _Name
    dimensions: _Count
    timeout: _Seconds = 10.0


class Model2VecEmbedderConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="model2vec"
):
    """`[embedder]` of `type = "model2vec"`: static vectors, in the process."""

    model: _Name
    """A folder, or a name on the Hugging Face hub."""


EmbedderConfig = OpenAIEmbedderConfig | Model2VecEmbedderConfig
"""`[embedder]`: what makes vectors of texts."""


class RuleExtractorConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="rules"):
    """`[extractor]` of `type = "rules"`: English patterns, without a model."""


class OpenAIExtractorConfig(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="openai"
):
    """`[extractor]` of `type = "openai"`: a model on any server that speaks OpenAI's chat completions."""

    url: _HttpUrl
    """Up to the version: `https://api.openai.com/v1`."""
    token: _Name
    model: _Name
    timeout: _Seconds = 30.0


ExtractorConfig = RuleExtractorConfig | OpenAIExtractorConfig
"""`[extractor]`: what reads sessions that have ended."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    origin: OriginConfig
    outbox: OutboxConfig
    namespace: str = "default"
    caches: tuple[CacheConfig, ...] = ()
    replica: ReplicaConfig | None = None
    policy: Policy = Policy()
    language: Language = "english"
    """In whose words memory is found, unless a session says otherwise."""
    embedder: EmbedderConfig | None = None
    extractor: ExtractorConfig | None = None
    key_secret: _Secret | None = None
    """Hides user ids in the keys of what is reached over HTTP. The same for all agents."""
    plain_keys: bool = False
    """Says that user ids may stand there."""


def read_config(path: str | os.PathLike[str], *, region: str | None = None) -> Config:
    """Read and check a TOML file; `{ env = "NAME" }` in the place of a value takes it from the environment.

    Raises:
        ConfigError: names the setting, and says what it must be.
    """
    return _checked(_resolved(_parsed(path), "", os.environ), region, os.environ, where=os.fspath(path))


def read_origin(path: str | os.PathLike[str]) -> OriginConfig:
    """Read `[origin]` alone: whoever needs no more is not asked for the environment variables of the rest.

    Raises:
        ConfigError: as `read_config`.
    """
    origin = _parsed(path).get("origin", {})
    return _converted(_resolved(origin, "origin", os.environ), OriginConfig, where=f"{os.fspath(path)}, [origin]")


def _parsed(path: str | os.PathLike[str]) -> dict[str, object]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration: {error}") from error
    except ValueError as error:
        raise ConfigError(f"{os.fspath(path)} is not valid TOML: {error}") from error


def config_from_env() -> Config:
    """Read `EDGEMEMORY_ORIGIN_DSN`, the outbox's variables and, if set, `EDGEMEMORY_REDIS_URL`, `EDGEMEMORY_NAMESPACE`.

    The outbox is a Redis where `EDGEMEMORY_OUTBOX_URL` is set (with `_OUTBOX_ASSUME_DURABLE`), or a file
    (`EDGEMEMORY_OUTBOX_PATH`, `_OUTBOX_DURABLE_DISK`). `EDGEMEMORY_WORKERS_URL`, with `_WORKERS_TOKEN` and
    `EDGEMEMORY_KEY_SECRET`, is a cache, and the outbox if there is neither.

    Raises:
        ConfigError: names the variable, and says what it must be.
    """
    environment = os.environ
    raw: dict[str, object] = {
        "origin": {"dsn": _variable("EDGEMEMORY_ORIGIN_DSN", environment, "the DSN of the Postgres primary")},
        "outbox": _outbox_from(environment),
        "namespace": environment.get("EDGEMEMORY_NAMESPACE", "default"),
    }
    caches: list[dict[str, object]] = []
    if url := environment.get("EDGEMEMORY_REDIS_URL"):
        caches.append({"type": "redis", "url": url})
    if workers := _workers_from(environment):
        caches.append(workers)
        raw["key_secret"] = _variable("EDGEMEMORY_KEY_SECRET", environment, _KEY_SECRET)
    raw["caches"] = caches
    try:
        return _checked(raw, None, environment, where="the environment")
    except ConfigError as error:
        raise ConfigError(_by_variable(str(error))) from error


def _outbox_from(environment: Mapping[str, str]) -> dict[str, object]:
    if url := environment.get("EDGEMEMORY_OUTBOX_URL"):
        assumed = environment.get("EDGEMEMORY_OUTBOX_ASSUME_DURABLE", "false")
        return {"type": "redis", "url": url, "assume_durable": assumed}
    if not environment.get("EDGEMEMORY_OUTBOX_PATH") and (workers := _workers_from(environment)):
        return workers
    path = _variable("EDGEMEMORY_OUTBOX_PATH", environment, _OUTBOX_PATH)
    return {"type": "file", "path": path, "durable_disk": environment.get("EDGEMEMORY_OUTBOX_DURABLE_DISK", "false")}


def _workers_from(environment: Mapping[str, str]) -> dict[str, object] | None:
    if url := environment.get("EDGEMEMORY_WORKERS_URL"):
        token = _variable("EDGEMEMORY_WORKERS_TOKEN", environment, "a token of the Worker, which may write")
        return {"type": "workers", "url": url, "token": token}
    return None


_OUTBOX_PATH = (
    "a file on a disk that lasts; or set EDGEMEMORY_OUTBOX_URL, to a Redis, or EDGEMEMORY_WORKERS_URL, to the Worker"
)
_KEY_SECRET = "16 random characters or more, the same for all agents: they hide user ids in keys"
_VARIABLES = {
    "`$.key_secret`": "EDGEMEMORY_KEY_SECRET",
    "`$.outbox.url`": "EDGEMEMORY_OUTBOX_URL",
    "`$.outbox.assume_durable`": "EDGEMEMORY_OUTBOX_ASSUME_DURABLE",
    "`$.origin.dsn`": "EDGEMEMORY_ORIGIN_DSN",
    "`$.outbox.path`": "EDGEMEMORY_OUTBOX_PATH",
    "`$.outbox.durable_disk`": "EDGEMEMORY_OUTBOX_DURABLE_DISK",
    "`$.caches[0].url`": "EDGEMEMORY_REDIS_URL",
    "the environment: namespace": "the environment: EDGEMEMORY_NAMESPACE",
}


def _by_variable(message: str) -> str:
    for setting, variable in _VARIABLES.items():
        message = message.replace(setting, variable)
    return message


def _checked(raw: object, region: str | None, environment: Mapping[str, str], *, where: str) -> Config:
    config = _converted(raw, Config, where=where)
    try:
        check_text("namespace", config.namespace, LIMITS.namespace)
    except InvalidInputError as error:
        raise ConfigError(f"{where}: {error}") from error
    if isinstance(config.outbox, FileOutboxConfig) and not config.outbox.durable_disk:
        raise ConfigError(
            "outbox.path is set but outbox.durable_disk is not: a container's disk does not outlive it.\n"
            "  Set durable_disk = true (EDGEMEMORY_OUTBOX_DURABLE_DISK=true) if this path is on a volume;\n"
            "  else take an outbox of type redis."
        )
    _check_keys(config, where=where)
    _check_names("[[caches]]", [cache.name for cache in config.caches], where=where)
    if any(isinstance(cache, HostCacheConfig) for cache in config.caches[1:]):
        raise ConfigError(f"{where}: the host's cache is the nearest, and there is one: put it first of [[caches]]")
    files = [it.path for it in (*config.caches, config.outbox) if isinstance(it, HostCacheConfig | FileOutboxConfig)]
    if len({Path(file).absolute() for file in files}) < len(files):
        raise ConfigError(f"{where}: the host's cache and the outbox need a file each: set another path for one")
    if config.replica is not None:
        _check_names("[[replica.servers]]", [server.name for server in config.replica.servers], where=where)
    return replace(config, caches=_of_region(config.caches, region, environment))


def _check_keys(config: Config, *, where: str) -> None:
    parts = [*config.caches, config.outbox]
    over_http = [
        part for part in parts if isinstance(part, UpstashCacheConfig | WorkersCacheConfig | WorkersOutboxConfig)
    ]
    if not over_http:
        return
    if config.plain_keys and config.key_secret is not None:
        raise ConfigError(f"{where}: key_secret hides user ids and plain_keys shows them: set one of the two")
    if not config.plain_keys and config.key_secret is None:
        raise ConfigError(
            f"{where}: key_secret is not set: keys of type {type_of(over_http[0])} show in dashboards and logs.\n"
            "  Set it to 16 random characters or more, the same for all agents, and keep it (another makes all cold);\n"
            "  or set plain_keys = true, if user ids may be seen there."
        )


def type_of(part: CacheConfig | OutboxConfig | EmbedderConfig | ExtractorConfig) -> str:
    """Return the `type` of a table."""
    return str(part.__struct_config__.tag)


def _check_names(table: str, names: Sequence[str], *, where: str) -> None:
    if len(set(names)) < len(names):
        raise ConfigError(f"{where}: each of {table} needs a name of its own; these have {', '.join(names)}")


def _converted(raw: object, kind: type[_S], *, where: str) -> _S:
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        place = _TYPE.search(str(error))
        raise ConfigError(f"{where}: {error}" + ("" if place is None else f": must be {_TYPES[place[1]]}")) from error


_TYPE = re.compile(r"`\$\.(outbox|caches)\S*\.type`$")
_TYPES = {"outbox": "file, redis or workers", "caches": "host, redis, upstash or workers"}


def here(region: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return this agent's region, if anybody has said it."""
    return region or environment.get("EDGEMEMORY_REGION") or environment.get("FLY_REGION")


def _of_region(
    caches: tuple[CacheConfig, ...], region: str | None, environment: Mapping[str, str]
) -> tuple[CacheConfig, ...]:
    own = here(region, environment)
    regions = {cache.region for cache in caches if cache.region is not None}
    if regions and own is None:
        known = ", ".join(sorted(regions))
        raise ConfigError(
            f"[[caches]] name regions ({known}) but this agent's region is not known.\n"
            "  Pass region=..., or set EDGEMEMORY_REGION."
        )
    return tuple(cache for cache in caches if cache.region in (None, own))


def _resolved(value: object, path: str, environment: Mapping[str, str]) -> object:
    match value:
        case {"env": str(name)} if len(cast(dict[str, object], value)) == 1:
            return _variable(name, environment, f"the value of {path}")
        case dict():
            table = cast(dict[str, object], value)
            return {key: _resolved(item, f"{path}.{key}".lstrip("."), environment) for key, item in table.items()}
        case list():
            items = cast(list[object], value)
            return [_resolved(item, f"{path}[{index}]", environment) for index, item in enumerate(items)]
        case _:
            return value


def _variable(name: str, environment: Mapping[str, str], meaning: str) -> str:
    value = environment.get(name)
    if not value:
        raise ConfigError(f"the environment variable {name} is not set: it must be {meaning}")
    return value
