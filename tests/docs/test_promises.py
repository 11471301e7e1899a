"""The table of defaults is the code's."""

import inspect
import re

import pytest

from edgememory import DeliveryPolicy, EdgeMemory, Policy
from edgememory.config import OriginConfig, RedisCacheConfig, ReplicaConfig
from edgememory.freshness import TOMBSTONE_KEEP
from edgememory.look import REFRESH_AGE
from edgememory.tiered import STAGGER, STALE_WAIT
from tests.docs.fences import ROOT

SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "days": 86400}
SESSION = inspect.signature(EdgeMemory.session).parameters

DEFAULTS = {
    **{f"`policy.{name}`": getattr(Policy(), name) for name in Policy.__struct_fields__},
    **{f"`delivery.{name}`": getattr(DeliveryPolicy(), name) for name in ("lease", "poll", "blocked_pause")},
    "tombstones are kept": TOMBSTONE_KEEP,
    "`session(timeout=)`": SESSION["timeout"].default,
    "`session(leave_timeout=)`": SESSION["leave_timeout"].default,
    "a cache's `timeout`": RedisCacheConfig(url="").timeout,
    "a replica's `timeout`": ReplicaConfig(servers=()).timeout,
    "the origin's `timeout`": OriginConfig(dsn="").timeout,
    "`stale_wait`": STALE_WAIT,
    "`stagger`": STAGGER,
    "refresh on opening": REFRESH_AGE,
}


def test_the_page_names_every_default() -> None:
    page = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
    table = page.split("## Defaults")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) (ms|s|min|h|days) \|", table, re.MULTILINE)
    documented = {setting: float(number) * SECONDS[unit] for setting, number, unit in rows}
    assert documented == pytest.approx(DEFAULTS)
