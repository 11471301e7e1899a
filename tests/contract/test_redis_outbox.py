from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from redis.asyncio import Redis

from edgememory.lab.servers import RedisServer
from edgememory.lab.servers.redis import DURABLE
from edgememory.models import UserKey
from edgememory.outbox.redis import RedisOutbox
from edgememory.testing.clock import ManualClock
from edgememory.testing.outbox_contract import ANNA, DAMAGED, LEASE, OutboxContract, said
from tests.servers import running


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running(RedisServer(settings=DURABLE)) as server:
        yield server


class TestRedisOutbox(OutboxContract):
    @pytest.fixture
    async def outbox(self, server: RedisServer, clock: ManualClock) -> AsyncIterator[RedisOutbox]:
        self.url = server.url
        self.clock = clock
        self.opened: list[RedisOutbox] = []
        async with Redis.from_url(server.url) as self.raw:
            await self.raw.flushall()
            yield await self.reopen()
            for outbox in self.opened:
                await outbox.aclose()

    async def reopen(self) -> RedisOutbox:
        self.opened.append(RedisOutbox(self.url, now=self.clock.now))
        return self.opened[-1]

    async def raw_pending(self, user: UserKey) -> list[str]:
        return sorted(id.decode() for id in await self.raw.hkeys(_changes(user)))

    async def raw_damage(self, user: UserKey, id: str) -> None:
        await self.raw.hset(_changes(user), id, DAMAGED)

    @pytest.mark.parametrize("other", [b"other", b"\xff\xfe", b"two words\n", "\u00e9".encode()])
    async def test_a_change_stored_under_another_id_is_damaged(self, outbox: RedisOutbox, other: bytes) -> None:
        wrong, good = said(), said()
        await outbox.append(ANNA, [wrong, good])
        body = await self.raw.hget(_changes(ANNA), wrong.id)
        assert body is not None
        await self.raw.hset(_changes(ANNA), other, body)
        assert (await outbox.pending(ANNA)).changes == (wrong, good)
        assert (await self.claim_one(outbox)).changes == (wrong, good)
        [letter] = await outbox.dead_letters(limit=2)
        assert (letter.user, letter.id, letter.body) == (ANNA, other.decode(errors="replace"), body)

    async def test_nothing_is_left_of_a_user_but_the_floor_which_is_forgotten_in_time(
        self, outbox: RedisOutbox
    ) -> None:
        await outbox.append(ANNA, [said()])
        claim = await self.claim_one(outbox)
        await outbox.ack(claim, [change.id for change in claim.changes], 7)
        [key] = await self.raw.keys("*")
        assert b"floor" in key
        assert 89 * 86_400 < await self.raw.ttl(key) <= 90 * 86_400

    async def test_two_who_claim_at_once_are_not_handed_one_user(self, outbox: RedisOutbox) -> None:
        await outbox.append(ANNA, [said()])
        [claim] = await outbox.claim(lease=LEASE, limit=1)
        assert await (await self.reopen())._leased(ANNA, LEASE) is None, "found claimable before, leased meanwhile"
        assert (await outbox.pending(ANNA)).changes == claim.changes


def _changes(user: UserKey) -> bytes:
    return b"em:outbox:1:changes:" + msgspec.json.encode((user.namespace, user.user_id))
