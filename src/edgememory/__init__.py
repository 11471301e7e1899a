"""A memory layer for voice agents: each user's memory near the agent, the truth in Postgres far away."""

from edgememory.client import EdgeMemory
from edgememory.errors import (
    ConfigError,
    CorruptEntryError,
    EdgeMemoryError,
    InvalidInputError,
    NotCommittedError,
    NotDurableError,
    OutboxFullError,
    StoreBlockedError,
    StoreError,
    StoreRejectedError,
    StoreUnavailableError,
)
from edgememory.freshness import Policy
from edgememory.models import (
    Entry,
    Fact,
    Message,
    Page,
    Preference,
    Receipt,
    Snapshot,
    Summary,
    UserKey,
)
from edgememory.outbox.delivery import DeliveryPolicy
from edgememory.parts import Parts
from edgememory.recall.query import Filters, Match
from edgememory.session import Session
from edgememory.tier import Tier
from edgememory.tiered import TieredStore
from edgememory.walk import Read

__all__ = [
    "ConfigError",
    "CorruptEntryError",
    "DeliveryPolicy",
    "EdgeMemory",
    "EdgeMemoryError",
    "Entry",
    "Fact",
    "Filters",
    "InvalidInputError",
    "Match",
    "Message",
    "NotCommittedError",
    "NotDurableError",
    "OutboxFullError",
    "Page",
    "Parts",
    "Policy",
    "Preference",
    "Read",
    "Receipt",
    "Session",
    "Snapshot",
    "StoreBlockedError",
    "StoreError",
    "StoreRejectedError",
    "StoreUnavailableError",
    "Summary",
    "Tier",
    "TieredStore",
    "UserKey",
]
