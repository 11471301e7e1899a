import pytest

from edgememory.models import UserKey
from edgememory.stores.memory import InMemoryStore
from edgememory.testing.cache_contract import CacheContract
from edgememory.testing.clock import ManualClock
from edgememory.testing.examples import entry_at

USER = UserKey("contract", "ann")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestInMemoryStore(CacheContract):
    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> InMemoryStore:
        self.clock = clock
        self.memory = InMemoryStore(monotonic=clock.monotonic)
        return self.memory

    async def reopen(self) -> InMemoryStore:
        return self.memory

    async def raw_ttl(self, user: UserKey) -> float:
        return self.memory._held[user].expires_at - self.clock.monotonic()


def test_an_entry_is_gone_when_its_time_is_up() -> None:
    clock = ManualClock()
    store = InMemoryStore(monotonic=clock.monotonic)
    store.hold(USER, entry_at(5), keep=10)
    clock.advance(9.999)
    held = store.peek(USER)
    assert held is not None
    assert held.entry == entry_at(5)
    clock.advance(0.001)
    assert store.peek(USER) is None
    assert store.hold(USER, entry_at(1), keep=10), "an expired entry outranks nothing"


def users(count: int) -> list[UserKey]:
    return [UserKey("contract", str(place)) for place in range(count)]


def size_of(*texts: str) -> int:
    store = InMemoryStore()
    for place, text in enumerate(texts):
        store.hold(UserKey("size", str(place)), entry_at(1, text=text), keep=10)
    return store._bytes


def test_the_least_recently_used_goes_first() -> None:
    store = InMemoryStore(max_bytes=3 * size_of("x" * 100))
    ann, bob, cem, dan = users(4)
    for user in (ann, bob, cem):
        store.hold(user, entry_at(1, text="x" * 100), keep=10)
    store.peek(ann)
    store.hold(dan, entry_at(1, text="x" * 100), keep=10)
    assert [user for user in (ann, bob, cem, dan) if store.peek(user) is not None] == [ann, cem, dan]


def test_a_large_entry_pushes_out_as_many_as_it_needs() -> None:
    store = InMemoryStore(max_bytes=10 * size_of("x" * 100))
    for user in users(10):
        store.hold(user, entry_at(1, text="x" * 100), keep=10)
    store.hold(USER, entry_at(1, text="x" * 1000), keep=10)
    left = [user for user in users(10) if store.peek(user) is not None]
    assert store.peek(USER) is not None
    assert left == users(10)[-len(left) :]
    assert 0 < len(left) < 9


def test_what_is_larger_than_the_store_is_not_held_and_leaves_nothing_older() -> None:
    store = InMemoryStore(max_bytes=size_of("x" * 100))
    assert store.hold(USER, entry_at(1, text="x" * 100), keep=10)
    assert not store.hold(USER, entry_at(2, text="x" * 101), keep=10)
    assert store.peek(USER) is None


def test_replaced_and_expired_and_evicted_entries_take_no_room() -> None:
    clock = ManualClock()
    store = InMemoryStore(max_bytes=20 * size_of("x"), monotonic=clock.monotonic)
    for version in range(1000):
        for user in users(30):
            store.hold(user, entry_at(version, text="x"), keep=10)
    assert 18 <= len(store._held) <= 20
    clock.advance(10)
    assert [store.peek(user) for user in users(30)] == [None] * 30
    assert store._bytes == 0


@pytest.mark.anyio
async def test_a_closed_store_holds_nothing() -> None:
    store = InMemoryStore()
    store.hold(USER, entry_at(1), keep=10)
    await store.aclose()
    assert store.peek(USER) is None
    assert store._bytes == 0
