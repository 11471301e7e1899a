"""The outbox at the edge: in each user's Durable Object, beside the entry, for agents that keep nothing themselves."""

from collections.abc import Callable, Iterator, Sequence
from time import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET, Struct, UnsetType

from edgememory import codec
from edgememory.changes import Change
from edgememory.errors import CorruptEntryError, OutboxFullError
from edgememory.models import Beside, Claim, DeadLetter, Depth, Pending, UserKey
from edgememory.outbox.stored import UNREADABLE, decode, encode, portion
from edgememory.stores.entry_protocol import BATCH, Item, WorkerClient

if TYPE_CHECKING:
    import httpx

STORE = "workers_outbox"
APPEND_BYTES = 7 * 1024 * 1024
"""Of one request; the Worker takes 8 MiB, the user's name included."""


class _Waiting(Struct, frozen=True):
    changes: tuple[Item, ...]
    floor: int
    entry: str | UnsetType | None = UNSET


class _Claimed(Struct, frozen=True):
    user: UserKey
    token: str
    changes: tuple[Item, ...]


class _Claims(Struct, frozen=True):
    claims: tuple[_Claimed, ...]


class _Letter(Struct, frozen=True):
    user: UserKey
    id: str
    body: str
    error: str
    at: float


class _Letters(Struct, frozen=True):
    dead: tuple[_Letter, ...]


_WAITING = msgspec.json.Decoder(_Waiting)
_CLAIMS = msgspec.json.Decoder(_Claims)
_DEPTH = msgspec.json.Decoder(Depth)
_LETTERS = msgspec.json.Decoder(_Letters)


class WorkersOutbox:
    """An outbox in the Durable Objects of the Worker, one a user. asyncio and trio.

    What `append` was given is on Cloudflare's disks when it returns. Every call is one request, but for appends of
    more than 7 MiB. `pending` brings the user's entry along, which stands in the same object: opening a session asks
    no more. `depth` is what the Worker's index was told. *now* is the wall clock, by which processes judge each
    other's leases. A client passed in is used as it is, and is never closed.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        key_secret: str | None,
        client: "httpx.AsyncClient | None" = None,
        now: Callable[[], float] = time,
    ) -> None:
        """*token* is one that may write. *key_secret* is that of the caches.

        Raises:
            ConfigError: *url* is no address, or *token* cannot stand in a header.
        """
        self._worker = WorkerClient(url, token, key_secret=key_secret, store=STORE, client=client)
        self._now = now

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        """Keep *changes*.

        Raises:
            OutboxFullError: 8 MiB of this user wait already.
        """
        pending = Pending()
        for part in _parts([Item(change.id, encode(change).decode()) for change in changes]):
            body = {"user": user, "changes": part, "now": self._now()}
            path = self._worker.outbox_path(user)
            answer, refusal = await self._worker.ask("POST", "append", path, body=body, refusals=("outbox_full",))
            if refusal is not None:
                raise OutboxFullError(f"{STORE}.append: 8 MiB of this user wait already: is anything delivered?")
            pending = _pending(self._worker.decoded(_WAITING, answer, "append"))
        return pending

    async def pending(self, user: UserKey) -> Pending:
        answer, _ = await self._worker.ask("GET", "pending", self._worker.entry_path(user) + "?pending=1")
        return _pending(self._worker.decoded(_WAITING, answer, "pending"))

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        """Lease users: those first who wait longest, counted from when they were last handed out.

        A request that is repeated because its connection died may leave users leased to nobody until the lease ends.
        """
        claims: list[Claim] = []
        while len(claims) < limit:
            body = {"lease": lease, "limit": min(limit - len(claims), BATCH), "now": self._now()}
            answer, _ = await self._worker.ask("POST", "claim", "/v1/outbox/claim", body=body)
            found = self._worker.decoded(_CLAIMS, answer, "claim").claims
            readable = [claim for claimed in found if (claim := await self._readable(claimed)) is not None]
            claims += readable
            if len(readable) == len(found):
                break  # Otherwise users of whom nothing was readable have taken the places of others.
        return claims

    async def _readable(self, claimed: _Claimed) -> Claim | None:
        """Return what can be delivered; what is no change becomes a dead letter."""
        changes, unreadable = portion((item.id, item.body.encode()) for item in claimed.changes)
        claim = Claim(claimed.user, changes, claimed.token)
        if unreadable:
            await self.reject(claim, unreadable, UNREADABLE)
        return claim if changes else None

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        body = {"token": claim.token, "ids": ids, "version": version, "now": self._now()}
        await self._worker.ask("POST", "ack", self._worker.outbox_path(claim.user, "/ack"), body=body)

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        body = {"token": claim.token, "ids": ids, "error": error, "now": self._now()}
        await self._worker.ask("POST", "reject", self._worker.outbox_path(claim.user, "/reject"), body=body)

    async def depth(self) -> Depth:
        answer, _ = await self._worker.ask("GET", "depth", f"/v1/outbox/depth?now={self._now():.6f}")
        return self._worker.decoded(_DEPTH, answer, "depth")

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """Return what was given up, newest first: 100 at most."""
        answer, _ = await self._worker.ask("GET", "dead_letters", f"/v1/outbox/dead?limit={min(limit, BATCH)}")
        letters = self._worker.decoded(_LETTERS, answer, "dead_letters").dead
        return [
            DeadLetter(user=letter.user, id=letter.id, body=letter.body.encode(), error=letter.error, at=letter.at)
            for letter in letters
        ]

    async def aclose(self) -> None:
        await self._worker.aclose()


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the items in portions that fit into a request: at least one, which may be empty."""
    part: list[Item] = []
    size = 0
    for item in items:
        length = len(msgspec.json.encode(item))
        if part and size + length > APPEND_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += length
    yield part


def _pending(waiting: _Waiting) -> Pending:
    changes = (decode(item.id, item.body.encode()) for item in waiting.changes)
    return Pending(tuple(change for change in changes if change is not None), waiting.floor, _beside(waiting.entry))


def _beside(text: str | UnsetType | None) -> Beside:
    if not isinstance(text, str):
        return text
    try:
        return codec.decode(text)
    except CorruptEntryError:
        return UNSET  # as if it had not been asked for: whoever asks the cache hears what is wrong with it


if TYPE_CHECKING:
    from edgememory.store import Outbox

    _: type[Outbox] = WorkersOutbox
