"""The outbox of a region: in a Redis that keeps what it was told, for agents whose disk does not outlive them."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from secrets import token_urlsafe
from time import time
from typing import TYPE_CHECKING, cast

import msgspec

from edgememory.changes import Change
from edgememory.errors import ConfigError, StoreBlockedError, StoreError
from edgememory.models import Claim, DeadLetter, Depth, Pending, UserKey
from edgememory.outbox.redis_lua import ACK, APPEND, CLAIMABLE, DEPTH, LEASE, PENDING, PREFIX, REJECT
from edgememory.outbox.stored import CLAIM_BYTES, CLAIM_CHANGES, UNREADABLE, decode, encode, portion
from edgememory.stores.lua import Script
from edgememory.stores.redis_client import RedisClient, is_refusal, redis_translated

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from edgememory.store import Outbox

STORE = "redis_outbox"
_SHARED = tuple(PREFIX + name for name in ("due", "waiting", "users", "leases", "dead"))
_DURABLE = {"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no"}
_SETTINGS = ("maxmemory", "maxmemory-policy", *_DURABLE)

_SILENT = (
    "the server does not say how it is set (CONFIG GET is refused). If it evicts nothing, and has what it was told on a"
    " disk or on another machine before it answers, set assume_durable = true"
)

_USER = msgspec.json.Decoder(tuple[str, str])
_FOREIGN = "surrogateescape"
"""Ids are text. What somebody else has put there must be found again to be thrown out, whatever its bytes."""


class RedisOutbox:
    """An outbox in Redis or Valkey, shared by the agents of a region. Needs the extra `redis`; asyncio only.

    What `append` was given is on the server's disk when it returns: the server must run with `appendonly yes`,
    `appendfsync always` and without evicting anything. That is looked up before the first use; where the server does
    not let itself be asked, or keeps things safe in another way, *assume_durable* says that it does. Every call is one
    round trip, but for `claim`, which takes two and more. Redis Cluster needs a proxy before it. *now* is the wall
    clock, by which processes judge each other's leases.
    """

    def __init__(
        self,
        client: "Redis | str",
        *,
        assume_durable: bool = False,
        max_connections: int = 16,
        now: Callable[[], float] = time,
    ) -> None:
        """*client* is a client, which is never closed, or a URL, whose pool has *max_connections*."""
        self._client = RedisClient(client, max_connections=max_connections)
        self._assume_durable = assume_durable
        self._is_fit = False
        self._now = now

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        if not changes:
            return await self.pending(user)
        rows = [part for change in changes for part in (change.id, encode(change))]
        return _pending(await self._of(user, "append", APPEND, self._now(), *rows))

    async def pending(self, user: UserKey) -> Pending:
        return _pending(await self._of(user, "pending", PENDING))

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        """Lease users: those first who wait longest, counted from when they were last handed out."""
        claims: list[Claim] = []
        # Once more where a user had nothing readable, or nothing left: such a user waits no longer, so this ends.
        while len(claims) < limit:
            names = cast(list[bytes], await self._run("claim", CLAIMABLE, _SHARED, self._now(), limit - len(claims)))
            if not names:
                break
            leased = await asyncio.gather(*(self._leased(UserKey(*_USER.decode(name)), lease) for name in names))
            claims += [claim for claim in leased if claim is not None]
        return claims

    async def _leased(self, user: UserKey, lease: float) -> Claim | None:
        now, token = self._now(), token_urlsafe(12)
        arguments = (now, lease, now + lease, token, CLAIM_CHANGES, CLAIM_BYTES)
        rows = cast(list[bytes], await self._of(user, "claim", LEASE, *arguments))
        changes, unreadable = portion((id.decode(errors=_FOREIGN), body) for id, body in _pairs(rows))
        claim = Claim(user, changes, token)
        if unreadable:
            await self.reject(claim, unreadable, UNREADABLE)
        return claim if changes else None

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        await self._settle("ack", ACK, claim, ids, version)

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        await self._settle("reject", REJECT, claim, ids, error)

    async def _settle(
        self, operation: str, script: Script, claim: Claim, ids: Sequence[str], outcome: int | str
    ) -> None:
        carried = [change.id for change in claim.changes]
        settled = (id.encode(errors=_FOREIGN) for id in ids)
        arguments = (self._now(), claim.token, outcome, len(carried), *carried, *settled)
        await self._of(claim.user, operation, script, *arguments)

    async def depth(self) -> Depth:
        """Count what waits.

        Raises:
            ConfigError: the server may lose what it was told, and what to change.
        """
        if (unfit := await self._unfit("depth")) is not None:
            raise ConfigError(unfit)
        answer = cast("tuple[int, int, int, bytes | None]", await self._run("depth", DEPTH, _SHARED))
        changes, users, dead, oldest = answer
        age = None if oldest is None else max(0.0, self._now() - float(oldest))
        return Depth(changes=changes, users=users, dead=dead, oldest_age=age)

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """Return what was given up, newest first."""
        with redis_translated("dead_letters", store=STORE):
            letters = await self._client.execute("LRANGE", PREFIX + "dead", 0, limit - 1)
        return [_dead_letter(letter) for letter in cast(list[bytes], letters)]

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _of(self, user: UserKey, operation: str, script: Script, *arguments: str | bytes | float) -> object:
        name = msgspec.json.encode((user.namespace, user.user_id))
        own = (PREFIX.encode() + kind + name for kind in (b"changes:", b"floor:"))
        return await self._run(operation, script, (*_SHARED, *own), name, *arguments)

    async def _run(
        self, operation: str, script: Script, keys: Sequence[str | bytes], *arguments: str | bytes | float
    ) -> object:
        if (unfit := await self._unfit(operation)) is not None:
            raise StoreBlockedError(unfit, store=STORE, operation=operation)
        with redis_translated(operation, store=STORE):
            return await self._client.run(script, len(keys), *keys, *arguments)

    async def _unfit(self, operation: str) -> str | None:
        """Ask the server once how it is set, and say why it may lose what it was told, if it may."""
        if not self._is_fit:
            settings = await self._settings(operation)
            if (why := unfit(settings, assume_durable=self._assume_durable)) is not None:
                return why
            self._is_fit = True
        return None

    async def _settings(self, operation: str) -> Mapping[str, str] | None:
        """Return how the server is set; `None` where it does not say."""
        found: dict[str, str] = {}
        try:
            with redis_translated(operation, store=STORE):
                for name in _SETTINGS:  # before version 7, it says one at a time
                    answer = cast(list[bytes], await self._client.execute("CONFIG", "GET", name))
                    found |= {key.decode(): value.decode() for key, value in _pairs(answer)}
        except StoreError as error:
            if is_refusal(error):
                return None
            raise
        return found if set(_SETTINGS) <= set(found) else None


def unfit(settings: Mapping[str, str] | None, *, assume_durable: bool) -> str | None:
    """Say why a server with these settings may lose what it was told, and what to do; `None` if it does not.

    *settings* is `None` where the server does not say. What it evicts it loses in any case.
    """
    if settings is None:
        return None if assume_durable else _SILENT
    policy = settings["maxmemory-policy"]
    if settings["maxmemory"] != "0" and policy != "noeviction":
        return (
            f"maxmemory-policy is {policy}: a full server throws away what nobody has delivered yet."
            " Set maxmemory-policy noeviction; a cache may need a server of its own"
        )
    wrong = next((name for name, value in _DURABLE.items() if settings[name] != value), None)
    if assume_durable or wrong is None:
        return None
    return (
        f"{wrong} is {settings[wrong]}: a crash of its machine loses what the server was told last."
        f" Set {', '.join(f'{name} {value}' for name, value in _DURABLE.items())};"
        " or, if what it was told is safe in another way, assume_durable = true"
    )


def _pending(answer: object) -> Pending:
    floor, rows = cast("tuple[bytes, list[bytes]]", answer)
    changes = (decode(id.decode(errors=_FOREIGN), body) for id, body in sorted(_pairs(rows)))
    return Pending(tuple(change for change in changes if change is not None), int(floor))


def _pairs(rows: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(rows[::2], rows[1::2], strict=True)


def _dead_letter(letter: bytes) -> DeadLetter:
    head, _, rest = letter.partition(b"\n")
    at, *sizes = head.split(b" ")
    ends = tuple(accumulate(map(int, sizes)))
    user, id, error, body = (rest[start:end] for start, end in pairwise((0, *ends, len(rest))))
    return DeadLetter(
        user=UserKey(*_USER.decode(user)),
        id=id.decode(errors="replace"),
        body=body,
        error=error.decode(),
        at=float(at),
    )


if TYPE_CHECKING:
    _: type[Outbox] = RedisOutbox
