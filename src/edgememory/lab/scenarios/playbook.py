"""All scenarios, in the order in which they are played."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from msgspec import Struct

from edgememory.lab.scenarios import baselines, cloudflare, near, places, replication
from edgememory.lab.site import Kind
from edgememory.lab.stage import Stage

Far = Literal["edge", "replica", "geneva", "object"]


class Scenario(Struct, frozen=True):
    """How to play it, which round trips it cannot do without, and whose agents play."""

    play: Callable[[Stage], Awaitable[None]]
    floor: tuple[Far, ...] = ()
    kind: Kind = "redis"


SCENARIOS: Mapping[str, Scenario] = {
    "direct_new_connection": Scenario(baselines.direct_new_connection),
    "direct_pooled": Scenario(baselines.direct_pooled, ("geneva",)),
    "cache_aside_1h": Scenario(baselines.cache_aside_1h),
    "cold": Scenario(near.cold, ("geneva",)),
    "cold_new_process": Scenario(near.cold_new_process),
    "edge": Scenario(near.edge, ("edge",)),
    "warm": Scenario(near.warm),
    "stale": Scenario(near.stale, ("edge",)),
    "callback": Scenario(near.callback, ("edge",)),
    "origin_down": Scenario(near.origin_down, ("edge",)),
    "edge_down": Scenario(near.edge_down, ("geneva",)),
    "edge_down_open": Scenario(near.edge_down_open, ("geneva",)),
    "travel": Scenario(places.travel, ("edge",)),
    "agent_in_geneva": Scenario(places.agent_in_geneva),
    "replica": Scenario(replication.replica, ("replica",), kind="replica"),
    "replica_unknown_user": Scenario(replication.replica_unknown_user, ("replica", "geneva"), kind="replica"),
    "replica_lag_5s": Scenario(replication.replica_lag_5s, ("replica",), kind="replica"),
    "replica_lag_5s_at_least": Scenario(replication.replica_lag_5s_at_least, ("geneva",), kind="replica"),
    "kv_warm_location": Scenario(cloudflare.kv_warm_location, ("edge",), kind="workers_kv"),
    "kv_cold_location": Scenario(cloudflare.kv_cold_location, ("edge", "object"), kind="workers_kv"),
    "unplugged": Scenario(cloudflare.unplugged, ("edge",), kind="workers"),
}

AT_CLOUDFLARE = tuple(name for name, scenario in SCENARIOS.items() if scenario.kind in ("workers_kv", "workers"))
"""Those that need the Worker."""
