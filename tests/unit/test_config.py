"""The configuration: what it means, and what each mistake is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgememory import ConfigError, EdgeMemory, Policy
from edgememory.config import (
    Config,
    FileOutboxConfig,
    OriginConfig,
    RedisCacheConfig,
    RedisOutboxConfig,
    ReplicaConfig,
    ReplicaServerConfig,
    UpstashCacheConfig,
    WorkersCacheConfig,
    WorkersOutboxConfig,
    config_from_env,
    read_config,
)
from edgememory.parts import _caches

MINIMAL = """
[origin]
dsn = "postgres://agent@geneva/memory"
[outbox]
type = "file"
path = "/var/lib/agent/outbox.sqlite"
durable_disk = true
"""
OUTBOX = FileOutboxConfig(path="/var/lib/agent/outbox.sqlite", durable_disk=True)

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "EDGEMEMORY_ORIGIN_DSN",
        "EDGEMEMORY_OUTBOX_PATH",
        "EDGEMEMORY_OUTBOX_DURABLE_DISK",
        "EDGEMEMORY_OUTBOX_URL",
        "EDGEMEMORY_OUTBOX_ASSUME_DURABLE",
        "EDGEMEMORY_REDIS_URL",
        "EDGEMEMORY_WORKERS_URL",
        "EDGEMEMORY_WORKERS_TOKEN",
        "EDGEMEMORY_KEY_SECRET",
        "EDGEMEMORY_NAMESPACE",
        "EDGEMEMORY_REGION",
        "FLY_REGION",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "edgememory.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_least_that_is_needed(write: Write) -> None:
    assert read_config(write(MINIMAL)) == Config(
        origin=OriginConfig(dsn="postgres://agent@geneva/memory"), outbox=OUTBOX
    )


def test_everything_that_can_be_said(write: Write) -> None:
    text = """
        namespace = "clinic"
        [origin]
        dsn = "postgresql://agent@geneva/memory"
        timeout = 2
        max_connections = 4
        pooler = true
        [[caches]]
        type = "redis"
        url = "rediss://edge:6379"
        name = "edge"
        timeout = 0.1
        [replica]
        timeout = 0.2
        max_connections = 1
        pooler = true
        [[replica.servers]]
        name = "ohio"
        dsn = "postgres://ohio/memory"
        [[replica.servers]]
        name = "oregon"
        dsn = "postgres://oregon/memory"
        [outbox]
        type = "file"
        path = "/var/lib/agent/outbox.sqlite"
        durable_disk = true
        [policy]
        ttl = 60
    """
    assert read_config(write(text)) == Config(
        namespace="clinic",
        origin=OriginConfig(dsn="postgresql://agent@geneva/memory", timeout=2.0, max_connections=4, pooler=True),
        caches=(RedisCacheConfig(url="rediss://edge:6379", name="edge", timeout=0.1),),
        replica=ReplicaConfig(
            servers=(
                ReplicaServerConfig(name="ohio", dsn="postgres://ohio/memory"),
                ReplicaServerConfig(name="oregon", dsn="postgres://oregon/memory"),
            ),
            timeout=0.2,
            max_connections=1,
            pooler=True,
        ),
        outbox=OUTBOX,
        policy=Policy(ttl=60.0),
    )


def test_a_value_may_come_from_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENEVA", "postgres://secret@geneva/memory")
    monkeypatch.setenv("CONNECTIONS", "7")
    text = MINIMAL.replace(
        '"postgres://agent@geneva/memory"', '{ env = "GENEVA" }\nmax_connections={env="CONNECTIONS"}'
    )
    origin = read_config(write(text)).origin
    assert (origin.dsn, origin.max_connections) == ("postgres://secret@geneva/memory", 7)


def test_the_worker_is_cache_and_outbox_and_its_entries_come_with_what_waits(write: Write) -> None:
    worker = 'type = "workers"\nurl = "https://edge"\ntoken = "t"\n'
    text = f'key_secret = "0123456789abcdef"\n{MINIMAL.partition("[outbox]")[0]}[outbox]\n{worker}[[caches]]\n{worker}'
    elsewhere = f'[[caches]]\n{worker.replace("edge", "elsewhere")}name = "elsewhere"\n'
    config = read_config(write(text + elsewhere))
    assert config.outbox == WorkersOutboxConfig(url="https://edge", token="t")
    assert config.caches[0] == WorkersCacheConfig(url="https://edge", token="t")
    assert [tier.beside_outbox for tier in _caches(config)] == [True, False]


def test_the_worker_of_the_environment_is_the_outbox_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEMORY_ORIGIN_DSN", "postgres://agent@geneva/memory")
    monkeypatch.setenv("EDGEMEMORY_WORKERS_URL", "https://edge")
    with pytest.raises(ConfigError, match="EDGEMEMORY_WORKERS_TOKEN"):
        config_from_env()
    monkeypatch.setenv("EDGEMEMORY_WORKERS_TOKEN", "t")
    with pytest.raises(ConfigError, match="EDGEMEMORY_KEY_SECRET"):
        config_from_env()
    monkeypatch.setenv("EDGEMEMORY_KEY_SECRET", "short")
    with pytest.raises(ConfigError, match="EDGEMEMORY_KEY_SECRET"):
        config_from_env()
    monkeypatch.setenv("EDGEMEMORY_KEY_SECRET", "0123456789abcdef")
    config = config_from_env()
    assert config.caches == (WorkersCacheConfig(url="https://edge", token="t"),)
    assert config.outbox == WorkersOutboxConfig(url="https://edge", token="t")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_URL", "redis://outbox")
    assert config_from_env().outbox == RedisOutboxConfig(url="redis://outbox")


MISTAKES = {
    "an empty file": ("", ["origin"]),
    "no TOML": ("[origin", ["edgememory.toml", "TOML"]),
    "a section left out": ('[origin]\ndsn = "postgres://geneva"', ["outbox"]),
    "a value left out": (MINIMAL.replace('dsn = "postgres://agent@geneva/memory"', ""), ["dsn", "$.origin"]),
    "an unknown key": (MINIMAL + "durable = true", ["durable", "$.outbox"]),
    "an unknown section": (MINIMAL + "[polcy]", ["polcy"]),
    "an unknown kind of outbox": (MINIMAL.replace('"file"', '"disk"'), ["$.outbox.type", "file, redis or workers"]),
    "an unknown kind of cache": (
        MINIMAL + '[[caches]]\ntype = "disk"\nurl = "redis://edge"',
        ["$.caches[0].type", "redis, upstash or workers"],
    ),
    "no postgres": (MINIMAL.replace("postgres://", "mysql://"), ["$.origin.dsn", "postgres"]),
    "no redis for the outbox": (
        MINIMAL.partition("[outbox]")[0] + '[outbox]\ntype = "redis"\nurl = "http://outbox"',
        ["$.outbox.url", "redis"],
    ),
    "no redis": (MINIMAL + '[[caches]]\ntype = "redis"\nurl = "http://edge"', ["$.caches[0].url", "redis"]),
    "an empty path": (MINIMAL.replace("/var/lib/agent/outbox.sqlite", ""), ["$.outbox.path", "length >= 1"]),
    "text for a number": (MINIMAL + '[policy]\nttl = "soon"', ["$.policy.ttl", "float"]),
    "a negative time": (MINIMAL + "[policy]\nttl = -1", ["policy.ttl", "positive"]),
    "no number for a time": (MINIMAL + "[policy]\nttl = nan", ["policy.ttl", "positive"]),
    "an endless time": (MINIMAL + "[policy]\nttl = inf", ["policy.ttl", "positive"]),
    "times that contradict": (MINIMAL + "[policy]\nnear_keep = 1", ["near_keep", "at least"]),
    "no number for a timeout": (
        MINIMAL + '[[caches]]\ntype="redis"\nurl="redis://edge"\ntimeout=nan',
        ["timeout", "> 0"],
    ),
    "a timeout of nothing": (MINIMAL + '[[caches]]\ntype="redis"\nurl="redis://edge"\ntimeout=0', ["timeout", "> 0"]),
    "no connection": (MINIMAL.replace("[outbox]", "max_connections = 0\n[outbox]"), ["max_connections", ">= 1"]),
    "an empty namespace": ('namespace = ""' + MINIMAL, ["namespace", "empty"]),
    "a long namespace": (f'namespace = "{"x" * 65}"' + MINIMAL, ["namespace", "64"]),
    "a variable that is not set": (MINIMAL.replace("true", '{ env = "NOT_SET" }'), ["NOT_SET", "outbox.durable_disk"]),
    "no upstash": (
        MINIMAL + '[[caches]]\ntype = "upstash"\nurl = "redis://edge"\ntoken = "t"',
        ["$.caches[0].url", "https"],
    ),
    "upstash with keys that show": (
        MINIMAL + '[[caches]]\ntype = "upstash"\nurl = "https://edge"\ntoken = "t"',
        ["key_secret", "plain_keys"],
    ),
    "no worker": (
        MINIMAL + '[[caches]]\ntype = "workers"\nurl = "redis://edge"\ntoken = "t"',
        ["$.caches[0].url", "https"],
    ),
    "a worker with keys that show": (
        MINIMAL.partition("[outbox]")[0] + '[outbox]\ntype = "workers"\nurl = "https://edge"\ntoken = "t"',
        ["key_secret", "plain_keys", "type workers"],
    ),
    "a short secret": ('key_secret = "short"' + MINIMAL, ["$.key_secret", "length >= 16"]),
    "a secret for keys that may show": (
        'key_secret = "0123456789abcdef"\nplain_keys = true'
        + MINIMAL
        + '[[caches]]\ntype = "upstash"\nurl = "https://edge"\ntoken = "t"',
        ["key_secret", "plain_keys"],
    ),
    "two caches of one name": (
        MINIMAL + '[[caches]]\ntype="redis"\nurl="redis://a"\n[[caches]]\ntype="redis"\nurl="redis://b"',
        ["caches", "name of its own"],
    ),
    "a replica without servers": (MINIMAL + "[replica]\ntimeout = 1", ["$.replica", "servers"]),
    "no server of a replica": (MINIMAL + "[replica]\nservers = []", ["$.replica.servers", "length >= 1"]),
    "a replica that is no postgres": (
        MINIMAL + '[[replica.servers]]\nname="a"\ndsn="redis://a"',
        ["$.replica.servers[0].dsn", "postgres"],
    ),
    "two replicas of one name": (
        MINIMAL
        + '[[replica.servers]]\nname="a"\ndsn="postgres://a"\n[[replica.servers]]\nname="a"\ndsn="postgres://b"',
        ["replica.servers", "name of its own"],
    ),
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_by_its_setting_and_what_it_must_be(write: Write, text: str, told: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(text))
    assert all(part in str(caught.value) for part in told), str(caught.value)


def test_an_error_never_shows_a_password(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(MINIMAL.replace("postgres://agent", "psql://agent:hunter2")))
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        read_config(tmp_path / "absent.toml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="binary"):
        read_config(tmp_path / "binary.toml")


def test_a_disk_must_be_said_to_outlive_its_container(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(MINIMAL.replace("durable_disk = true", "")))
    assert str(caught.value).startswith(
        "outbox.path is set but outbox.durable_disk is not: a container's disk does not outlive it.\n"
        "  Set durable_disk = true"
    )


REGIONS = (
    MINIMAL
    + """
[[caches]]
type = "redis"
name = "everywhere"
url = "redis://all"
[[caches]]
type = "redis"
name = "west"
region = "sfo"
url = "redis://west"
[[caches]]
type = "redis"
name = "east"
region = "iad"
url = "redis://east"
"""
)


@pytest.mark.parametrize(
    ("argument", "ours", "fly", "caches"),
    [
        ("iad", "sfo", "sfo", ["everywhere", "east"]),
        (None, "sfo", "iad", ["everywhere", "west"]),
        (None, None, "iad", ["everywhere", "east"]),
        ("ams", None, None, ["everywhere"]),
    ],
)
def test_an_agent_uses_the_caches_of_its_region(
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    argument: str | None,
    ours: str | None,
    fly: str | None,
    caches: list[str],
) -> None:
    for name, region in (("EDGEMEMORY_REGION", ours), ("FLY_REGION", fly)):
        if region is not None:
            monkeypatch.setenv(name, region)
    assert [cache.name for cache in read_config(write(REGIONS), region=argument).caches] == caches


def test_an_unknown_region_is_told_only_where_it_matters(write: Write) -> None:
    read_config(write(MINIMAL))
    with pytest.raises(ConfigError, match=r"(?s)iad, sfo.*EDGEMEMORY_REGION"):
        read_config(write(REGIONS))


def test_the_environment_alone_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEMEMORY_ORIGIN_DSN", "postgres://agent@geneva/memory")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_PATH", "/var/lib/agent/outbox.sqlite")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_DURABLE_DISK", "true")
    assert config_from_env() == Config(origin=OriginConfig(dsn="postgres://agent@geneva/memory"), outbox=OUTBOX)
    monkeypatch.setenv("EDGEMEMORY_REDIS_URL", "redis://edge")
    monkeypatch.setenv("EDGEMEMORY_NAMESPACE", "clinic")
    config = config_from_env()
    assert config.caches == (RedisCacheConfig(url="redis://edge"),)
    assert config.namespace == "clinic"


@pytest.mark.parametrize("keys", ['key_secret = "0123456789abcdef"', "plain_keys = true"])
def test_a_cache_may_be_an_upstash(write: Write, keys: str) -> None:
    text = keys + MINIMAL + '[[caches]]\ntype = "upstash"\nurl = "https://edge"\ntoken = "t"\nregion = "sfo"'
    config = read_config(write(text), region="sfo")
    assert config.caches == (UpstashCacheConfig(url="https://edge", token="t", region="sfo"),)
    assert (config.key_secret is None) == config.plain_keys
    EdgeMemory.from_config(write(text), region="sfo")


def test_a_redis_may_hold_the_outbox(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = MINIMAL.partition("[outbox]")[0]
    text = origin + '[outbox]\ntype = "redis"\nurl = "rediss://outbox"\nassume_durable = true'
    assert read_config(write(text)).outbox == RedisOutboxConfig(url="rediss://outbox", assume_durable=True)
    monkeypatch.setenv("EDGEMEMORY_ORIGIN_DSN", "postgres://agent@geneva/memory")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_URL", "rediss://outbox")
    assert config_from_env().outbox == RedisOutboxConfig(url="rediss://outbox")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_ASSUME_DURABLE", "true")
    assert config_from_env().outbox == RedisOutboxConfig(url="rediss://outbox", assume_durable=True)
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_URL", "/var/lib/outbox")
    with pytest.raises(ConfigError, match="EDGEMEMORY_OUTBOX_URL"):
        config_from_env()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EDGEMEMORY_ORIGIN_DSN", None),
        ("EDGEMEMORY_ORIGIN_DSN", ""),
        ("EDGEMEMORY_ORIGIN_DSN", "geneva:5432"),
        ("EDGEMEMORY_OUTBOX_PATH", None),
        ("EDGEMEMORY_OUTBOX_DURABLE_DISK", None),
        ("EDGEMEMORY_OUTBOX_DURABLE_DISK", "yes"),
        ("EDGEMEMORY_REDIS_URL", "edge:6379"),
        ("EDGEMEMORY_NAMESPACE", ""),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    monkeypatch.setenv("EDGEMEMORY_ORIGIN_DSN", "postgres://agent@geneva/memory")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_PATH", "/var/lib/agent/outbox.sqlite")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_DURABLE_DISK", "true")
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        config_from_env()


def test_making_an_edge_memory_reads_the_configuration_and_opens_nothing(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "volume" / "outbox.sqlite"
    EdgeMemory.from_config(write(MINIMAL.replace("/var/lib/agent/outbox.sqlite", str(path))))
    monkeypatch.setenv("EDGEMEMORY_ORIGIN_DSN", "postgres://agent@geneva/memory")
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_PATH", str(path))
    monkeypatch.setenv("EDGEMEMORY_OUTBOX_DURABLE_DISK", "true")
    EdgeMemory.from_env()
    assert not path.parent.exists()
    with pytest.raises(ConfigError, match="outbox"):
        EdgeMemory.from_config(write('[origin]\ndsn = "postgres://geneva"'))


def test_the_host_s_cache_and_the_outbox_are_not_one_file(tmp_path: Path) -> None:
    outbox = '[outbox]\ntype = "file"\npath = "/x/memory.sqlite"\ndurable_disk = true\n'
    origin = '[origin]\ndsn = "postgresql://localhost/memory"\n'
    file = tmp_path / "edgememory.toml"
    file.write_text(f'{origin}{outbox}[[caches]]\ntype = "host"\npath = "/x/./memory.sqlite"\n')
    with pytest.raises(ConfigError, match="need a file each"):
        read_config(file)


def test_the_host_s_cache_comes_first_and_is_one(tmp_path: Path) -> None:
    host = '[[caches]]\ntype = "host"\npath = "/x"\n'
    redis = '[[caches]]\ntype = "redis"\nurl = "redis://x"\n'
    for caches in (redis + host, host + host.replace("path", 'name = "other"\npath')):
        path = tmp_path / "wrong.toml"
        path.write_text(MINIMAL + caches, encoding="utf-8")
        with pytest.raises(ConfigError, match="put it first"):
            read_config(path)
