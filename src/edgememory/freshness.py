"""Whether an entry may be used: the one rule, as pure functions of an entry, a policy and a time."""

from enum import Enum

from msgspec import Struct

from edgememory.errors import ConfigError
from edgememory.models import Entry

DAY = 86_400.0


class Verdict(Enum):
    """What a reader may do with an entry."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"
    GONE = "gone"
    BEHIND = "behind"


class Policy(Struct, frozen=True, kw_only=True):
    """How old an answer may be. Seconds.

    The entry of a user who does not exist is fresh for `missing_ttl`. The near caches (process memory, host) are
    confirmed by a lower tier every `near_ttl`, and drop what was not confirmed for `near_keep`.
    """

    ttl: float = 3600.0
    stale_while_revalidate: float = 30 * DAY
    stale_if_error: float = 90 * DAY
    missing_ttl: float = 60.0
    near_ttl: float = 60.0
    near_keep: float = 3600.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 < getattr(self, name) < 10_000 * DAY:
                raise ConfigError(f"policy.{name} must be a positive number of seconds")
        if self.near_keep < self.near_ttl:
            raise ConfigError("policy.near_keep must be at least policy.near_ttl")


TOMBSTONE_KEEP = 100 * DAY
"""Longer than any entry is kept, so that no cache outlives its own memory of a deletion."""


def decide(entry: Entry, policy: Policy, *, now: float, at_least: int = 0) -> Verdict:
    """Say what a reader may do with *entry* at *now* (seconds, the origin's clock).

    FRESH answers. STALE answers while a refresh runs. EXPIRED and BEHIND answer only when the tiers below have
    failed. GONE never answers. Bounds are exclusive: an entry whose ttl is 10 is stale at age 10. A tombstone
    is never gone; any other absence expires at once, because a new user is worth a round trip.
    """
    snapshot = entry.snapshot
    if snapshot.version < at_least:
        return Verdict.BEHIND
    if fresh_for(entry, policy, now=now) > 0:
        return Verdict.FRESH
    age = now - entry.synced_at
    if (snapshot.exists or snapshot.is_tombstone) and age < policy.ttl + policy.stale_while_revalidate:
        return Verdict.STALE
    return Verdict.EXPIRED if snapshot.is_tombstone or age < policy.stale_if_error else Verdict.GONE


def fresh_for(entry: Entry, policy: Policy, *, now: float) -> float:
    """Return for how many seconds from *now* the entry stays fresh; 0 or less if it is not."""
    ttl = policy.ttl if entry.snapshot.exists else policy.missing_ttl
    return entry.synced_at + ttl - now


def newer(first: Entry | None, second: Entry | None) -> Entry | None:
    """Return the entry with the larger order; the first if they are equal."""
    if first is None or (second is not None and second.order > first.order):
        return second
    return first


def keep_for(entry: Entry, policy: Policy) -> float:
    """Return for how many seconds a cache of the region should keep *entry*."""
    if entry.snapshot.exists:
        return policy.stale_if_error
    return TOMBSTONE_KEEP if entry.snapshot.is_tombstone else policy.missing_ttl
