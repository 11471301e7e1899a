"""Redis, Valkey, or Upstash over TCP: the cache that a region's agents share."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from edgememory.errors import CorruptEntryError
from edgememory.keys import entry_key
from edgememory.models import Entry, UserKey
from edgememory.stores.newer_wins import SCRIPT, from_value, keep_milliseconds, to_value
from edgememory.stores.redis_client import RedisClient, redis_translated

if TYPE_CHECKING:
    from redis.asyncio import Redis

_translated = partial(redis_translated, store="redis")


class RedisStore:
    """Entries in Redis, one key a user. `put` is atomic newer-wins: one Lua script.

    Every call is one round trip. Needs the extra `redis`; asyncio only. A client passed in is used as it is,
    and is never closed; a URL makes a pool of the store's own. Redis should not evict, or a late fill may
    bring deleted data back: `maxmemory-policy noeviction`, or `volatile-ttl`, which takes tombstones last.
    """

    cleared_after = 0.0

    def __init__(self, client: "Redis | str", *, max_connections: int = 16) -> None:
        """*client* is a client, or a URL. A URL's pool has *max_connections*: more calls wait their turn."""
        self._client = RedisClient(client, max_connections=max_connections)

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        with _translated("get"):
            value = cast("bytes | None", await self._client.execute("GET", entry_key(user)))
        return None if value is None else from_value(value)

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        """Return the entries that there are. A corrupt one is left out: `get` says what is wrong with it."""
        wanted = list(dict.fromkeys(users))
        if not wanted:
            return {}
        with _translated("get_many"):
            values = cast("list[bytes | None]", await self._client.execute("MGET", *map(entry_key, wanted)))
        found: dict[UserKey, Entry] = {}
        for user, value in zip(wanted, values, strict=True):
            with suppress(CorruptEntryError):
                if value is not None:
                    found[user] = from_value(value)
        return found

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        with _translated("put"):
            stands = await self._client.run(SCRIPT, 1, entry_key(user), to_value(entry), keep_milliseconds(keep))
        return stands == 1

    async def warm(self) -> None:
        with _translated("warm"):
            await self._client.execute("PING")

    async def aclose(self) -> None:
        await self._client.aclose()


if TYPE_CHECKING:
    from edgememory.store import CacheStore

    _: type[CacheStore] = RedisStore
