"""What each scenario is, in a few words."""

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "direct_new_connection": "no memory layer: a new connection",
    "direct_pooled": "no memory layer: an open connection",
    "cache_aside_1h": "no memory layer but a cache with a TTL of 1 h",
    "cold": "no cache holds the user",
    "cold_new_process": "the same, and no connection is open",
    "edge": "the region's cache holds the user",
    "warm": "warmed while the phone rang",
    "stale": "the region's entry is past its ttl",
    "callback": "calls again after 5 s, in a new process",
    "origin_down": "Geneva cannot be reached",
    "edge_down": "the region's cache hangs, not noticed yet",
    "edge_down_open": "the region's cache hangs, breaker open",
    "travel": "called elsewhere just now",
    "agent_in_geneva": "the agent stands beside the database",
    "replica": "no cache but a replica, which holds the user",
    "replica_unknown_user": "no cache, the replica does not know the user yet",
    "replica_lag_5s": "no cache, the replica is 5 s behind",
    "replica_lag_5s_at_least": "the same, and the version is asked for",
    "kv_warm_location": "Workers KV: called here a minute ago",
    "kv_cold_location": "Workers KV: has always called elsewhere",
    "unplugged": "container killed, Geneva away: calls back after 5 s",
    "leave_up": "leaving a call: Geneva is up",
    "leave_down": "leaving a call: Geneva cannot be reached",
}
