"""Workers KV behind the Worker of `edgememory.cloudflare`: a cache wherever Cloudflare is."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from edgememory import codec
from edgememory.errors import CorruptEntryError
from edgememory.models import Entry, UserKey
from edgememory.stores.entry_protocol import BATCH, WorkerClient

if TYPE_CHECKING:
    import httpx

STORE = "workers_kv"
_LONGEST_KEEP = 68 * 365 * 86_400.0
"""What the Worker makes of any more."""


class _Entries(Struct, frozen=True):
    entries: dict[str, str]


_ENTRIES = msgspec.json.Decoder(_Entries)


class WorkersKVStore:
    """Entries in Workers KV, one key a user, each guarded by a Durable Object. `put` is atomic newer-wins.

    Every call is one request; asyncio and trio. `get` never goes back while the object answers; where KV answers in
    its place, and in `get_many` always, an entry may lack what was put in a call that goes on, or in the two minutes
    before. A client passed in is used as it is, and is never closed.
    """

    cleared_after = 60.0
    """The `cacheTtl` of the Worker's reads: what a location has cached of KV shows there while the object is silent."""

    def __init__(
        self, url: str, token: str, *, key_secret: str | None, client: "httpx.AsyncClient | None" = None
    ) -> None:
        """*token* is one of the Worker's. With a *key_secret*, no user id stands in a key: see `entry_key`.

        Raises:
            ConfigError: *url* is no address, or *token* cannot stand in a header.
        """
        self._worker = WorkerClient(url, token, key_secret=key_secret, store=STORE, client=client)

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        headers = {"Edgememory-At-Least": str(at_least)} if at_least > 0 else {}
        path = self._worker.entry_path(user)
        answer, refusal = await self._worker.ask("GET", "get", path, headers=headers, refusals=("not_found",))
        return None if refusal is not None else codec.decode(answer.body)

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        """Return the entries that there are. A corrupt one is left out: `get` says what is wrong with it."""
        wanted = list(dict.fromkeys(users))
        found: dict[UserKey, Entry] = {}
        for start in range(0, len(wanted), BATCH):
            keys = {self._worker.key(user): user for user in wanted[start : start + BATCH]}
            answer, _ = await self._worker.ask("POST", "get_many", "/v1/entries/get", body={"keys": list(keys)})
            for key, text in self._worker.decoded(_ENTRIES, answer, "get_many").entries.items():
                with suppress(CorruptEntryError, KeyError):  # a key that nobody asked for
                    found[keys[key]] = codec.decode(text)
        return found

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        headers = {
            "Edgememory-Order": "{}.{}.{}".format(*entry.order),
            "Edgememory-Keep": f"{min(keep, _LONGEST_KEEP):.3f}",
        }
        if entry.snapshot.is_tombstone:
            headers["Edgememory-Tombstone"] = "1"
        _, refusal = await self._worker.ask(
            "PUT",
            "put",
            self._worker.entry_path(user),
            content=codec.encode(entry),
            headers=headers,
            refusals=("newer_stands",),
        )
        return refusal is None

    async def warm(self) -> None:
        await self._worker.health("warm")

    async def aclose(self) -> None:
        await self._worker.aclose()


if TYPE_CHECKING:
    from edgememory.store import CacheStore

    _: type[CacheStore] = WorkersKVStore
