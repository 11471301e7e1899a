"""The first configuration: what `edgememory init` writes. Pure: from answers to texts."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from msgspec import Struct

from edgememory.errors import ConfigError, InvalidInputError
from edgememory.limits import LIMITS, check_text

CacheKind = Literal["redis", "upstash", "workers", "none"]
OutboxKind = Literal["file", "redis", "workers"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Answers(Struct, frozen=True, kw_only=True):
    """What the file cannot know."""

    namespace: str
    cache: CacheKind
    outbox: OutboxKind
    replicas: Sequence[str]
    """Their names."""


class _Part(Struct, frozen=True):
    """A table of the file, and the variables that it takes its values from: by name, an example and what it is."""

    text: str
    variables: Sequence[tuple[str, str, str]] = ()


_ORIGIN = _Part(
    """\
# The Postgres that orders all writes: 16 or later. `edgememory migrate` makes the schema.
[origin]
dsn = { env = "DATABASE_URL" }
# Seconds for one read, connecting included if it must.
timeout = 2.0
# Of each process. True for `pooler` if the dsn leads to PgBouncer or Hyperdrive.
max_connections = 2
pooler = false
""",
    [("DATABASE_URL", "postgresql://agent:password@geneva.example/edgememory", "the Postgres primary")],
)
_WORKER = [
    ("EDGEMEMORY_WORKERS_URL", "https://edgememory.your-name.workers.dev", "`edgememory cloudflare deploy` prints it"),
    ("EDGEMEMORY_WORKERS_TOKEN", "copy-it-from-there", "beside it"),
]
_KEY_SECRET = _Part(
    '# Hides user ids in the keys.\nkey_secret = { env = "EDGEMEMORY_KEY_SECRET" }\n',
    [("EDGEMEMORY_KEY_SECRET", "change-me-" + 32 * "0", "openssl rand -hex 16: the same for all agents")],
)
_CACHES: dict[CacheKind, _Part] = {
    "redis": _Part(
        """\
# The cache of the region, beside the agents. One for each region, with `region = "..."`, and one file serves them all.
[[caches]]
type = "redis"
url = { env = "EDGE_REDIS_URL" }
# In logs and receipts.
name = "redis"
# Seconds for one request, after which the next tier is asked.
timeout = 0.05
""",
        [("EDGE_REDIS_URL", "redis://redis.internal:6379/0", "the region's Redis: maxmemory-policy noeviction")],
    ),
    "upstash": _Part(
        """\
# The cache of the region, over REST. One for each region, with `region = "..."`, and one file serves them all.
[[caches]]
type = "upstash"
url = { env = "UPSTASH_REDIS_REST_URL" }
token = { env = "UPSTASH_REDIS_REST_TOKEN" }
# In logs and receipts.
name = "upstash"
# Seconds for one request, after which the next tier is asked.
timeout = 0.05
""",
        [
            (
                "UPSTASH_REDIS_REST_URL",
                "https://eu2-something.upstash.io",
                "in the console, under REST API",
            ),
            ("UPSTASH_REDIS_REST_TOKEN", "copy-it-from-there", "beside it"),
        ],
    ),
    "workers": _Part(
        """\
# Workers KV, by the Worker that `edgememory cloudflare deploy` puts there: one address, near everybody.
[[caches]]
type = "workers"
url = { env = "EDGEMEMORY_WORKERS_URL" }
token = { env = "EDGEMEMORY_WORKERS_TOKEN" }
# In logs and receipts.
name = "workers"
# Seconds for one request, after which the next tier is asked: the object of a user may be on another continent.
timeout = 0.25
""",
        _WORKER,
    ),
    "none": _Part(
        """\
# No cache: a user whom this process does not remember is read from a replica or the origin. To add one: [[caches]].
"""
    ),
}
_OUTBOXES: dict[OutboxKind, _Part] = {
    "file": _Part(
        """\
# Where changes wait until the origin has them: a file on a local disk that outlives the process. You say so.
[outbox]
type = "file"
path = { env = "EDGEMEMORY_OUTBOX_PATH" }
durable_disk = true
""",
        [("EDGEMEMORY_OUTBOX_PATH", "/var/lib/edgememory/outbox.sqlite", "on a volume, not in the container")],
    ),
    "redis": _Part(
        """\
# Where changes wait until the origin has them: a Redis of the region that keeps what it is told.
[outbox]
type = "redis"
url = { env = "OUTBOX_REDIS_URL" }
# True if the server is durable but does not let itself be asked.
assume_durable = false
""",
        [
            (
                "OUTBOX_REDIS_URL",
                "redis://outbox.internal:6379/0",
                "appendonly yes, appendfsync always, maxmemory-policy noeviction",
            )
        ],
    ),
    "workers": _Part(
        """\
# Where changes wait until the origin has them: in the Worker's Durable Objects, one a user.
[outbox]
type = "workers"
url = { env = "EDGEMEMORY_WORKERS_URL" }
token = { env = "EDGEMEMORY_WORKERS_TOKEN" }
""",
        _WORKER,
    ),
}
_MODELS = _Part(
    """\
# What reads a call when it is over; without it, nobody does. English patterns, or "openai" for a model: see
# "Bring your own models".
[extractor]
type = "rules"

# What finds by meaning too; without it, recall goes by words. Needs pgvector at the origin; before agents use it, run
# `edgememory reembed`.
# [embedder]
# type = "openai"
# url = "https://api.openai.com/v1"
# token = { env = "OPENAI_API_KEY" }
# model = "text-embedding-3-small"
# dimensions = 512
"""
)
_POLICY = _Part(
    """\
# How old an answer may be, in seconds: see "The promises".
[policy]
ttl = 3600
stale_while_revalidate = 2592000  # 30 days
stale_if_error = 7776000  # 90 days
missing_ttl = 60
near_ttl = 60
near_keep = 3600
"""
)


def parse_replicas(text: str) -> Sequence[str]:
    """Return the names in *text*, which commas separate.

    Raises:
        ConfigError: one cannot stand in a variable's name, or stands there twice.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise ConfigError(f"a replica's name is letters, digits, - and _, a letter first: not {', '.join(wrong)}")
    if len({_variable(name) for name in names}) < len(names):
        raise ConfigError(f"each replica needs a name of its own: not {', '.join(names)}")
    return names


def configuration(answers: Answers) -> str:
    """Return `edgememory.toml`.

    Raises:
        ConfigError: the namespace is none.
    """
    try:
        check_text("namespace", answers.namespace, LIMITS.namespace)
    except InvalidInputError as error:
        raise ConfigError(str(error)) from error
    head = f"# Separates applications that share a database.\nnamespace = {json.dumps(answers.namespace)}\n"
    top, *tables = (part.text for part in _parts(answers))
    return "\n".join((head + top, *tables))


def environment(answers: Answers) -> str:
    """Return `.env.example`: what the configuration takes from the environment."""
    rows = dict.fromkeys(row for part in _parts(answers) for row in part.variables)
    return "".join(f"# {meaning}\n{name}={example}\n" for name, example, meaning in rows)


def _parts(answers: Answers) -> Iterator[_Part]:
    """Yield what stands above the tables, and them."""
    is_over_http = answers.cache in ("upstash", "workers") or answers.outbox == "workers"
    yield _KEY_SECRET if is_over_http else _Part("")
    yield _ORIGIN
    yield _CACHES[answers.cache]
    if answers.replicas:
        yield _replicas(answers.replicas)
    yield _OUTBOXES[answers.outbox]
    yield _MODELS
    yield _POLICY


def _replicas(names: Sequence[str]) -> _Part:
    head = """\
# Read-only copies of the origin. Each agent reads from the nearest; run `edgememory work` somewhere for heartbeats.
[replica]
# Seconds for one read.
timeout = 0.1
"""
    servers = "".join(
        f'\n[[replica.servers]]\nname = "{name}"\ndsn = {{ env = "{_variable(name)}" }}\n' for name in names
    )
    example = "postgresql://agent:password@{}.example/edgememory"
    return _Part(head + servers, [(_variable(name), example.format(name), f"the replica {name}") for name in names])


def _variable(name: str) -> str:
    return f"REPLICA_{name.upper().replace('-', '_')}_URL"
