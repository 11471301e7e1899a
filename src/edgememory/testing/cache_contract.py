"""What every `CacheStore` promises. A backend's test is a fixture and a hook or three."""

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from functools import partial
from itertools import permutations
from uuid import uuid4

import anyio
import anyio.lowlevel
import msgspec
import pytest

from edgememory import codec
from edgememory.errors import CorruptEntryError
from edgememory.keys import entry_key
from edgememory.models import UserKey
from edgememory.store import CacheStore
from edgememory.testing.examples import AWKWARD_IDS, NOW, entry_at, full_entry, tombstone_at

KEEP = 3600.0


def _parts(value: object) -> Iterator[object]:
    yield value
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _parts(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:  # pyright: ignore[reportUnknownVariableType] - a tuple of anything
            yield from _parts(item)


async def finishes_within(turns: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Cancel *call* after so many turns of the event loop: one more each time, and every await is met."""
    finished = False

    async def run() -> None:
        nonlocal finished
        await call()
        finished = True

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    return finished


class CacheContract(ABC):
    """Subclass it, with a fixture `store` and the hooks. Tests make their own users: backends may be shared."""

    pytestmark = pytest.mark.anyio

    @abstractmethod
    async def reopen(self) -> CacheStore:
        """Return a second store on the same backend, as another process would have it: the contract closes it.

        What is shared by nobody is returned again.
        """

    @abstractmethod
    async def raw_ttl(self, user: UserKey) -> float:
        """Return the seconds until the backend may drop the user's entry, asked of the backend itself."""

    async def spread(self, store: CacheStore, user: UserKey) -> None:  # noqa: B027 - most need not do anything
        """Return when `get_many` shows what was put of *user*: at once, but where it is only eventually consistent."""

    @pytest.fixture
    def user(self) -> UserKey:
        return UserKey("contract", uuid4().hex)

    async def test_what_was_deleted_is_shown_no_more_once_the_tombstone_was_put(self, store: CacheStore) -> None:
        assert store.cleared_after == 0

    async def test_what_was_put_is_read(self, store: CacheStore, user: UserKey) -> None:
        assert await store.put(user, full_entry(), keep=KEEP)
        assert await store.get(user) == full_entry()

    async def test_only_absence_is_none(self, store: CacheStore, user: UserKey) -> None:
        assert await store.get(user) is None
        nobody = entry_at(0, synced_at=0.0, exists=False)
        assert await store.put(user, nobody, keep=KEEP)
        assert await store.get(user) == nobody
        await self.spread(store, user)
        assert await store.get_many([user]) == {user: nobody}

    async def test_the_newest_stands_whatever_the_order_of_arrival(self, store: CacheStore) -> None:
        entries = [
            entry_at(9, tentative_at=NOW + 1, synced_at=NOW + 1),
            entry_at(10, synced_at=NOW + 1),
            entry_at(10, tentative_at=9.5, synced_at=NOW),
            entry_at(10, tentative_at=10.5, synced_at=0.000009),
            entry_at(10, tentative_at=10.5, synced_at=0.00001),
        ]
        for arrivals in permutations(entries):
            user = UserKey("contract", uuid4().hex)
            newest = arrivals[0]
            for entry in arrivals:
                stands = await store.put(user, entry, keep=KEEP)
                assert stands == (entry.order >= newest.order)
                newest = max(newest, entry, key=lambda entry: entry.order)
            assert await store.get(user) == entries[-1]

    async def test_orders_are_compared_as_exact_integers(self, store: CacheStore, user: UserKey) -> None:
        assert await store.put(user, entry_at(2**53), keep=KEEP)
        assert not await store.put(user, entry_at(2**53 - 1), keep=KEEP)
        later = entry_at(2**53, synced_at=NOW + 0.000001)
        assert await store.put(user, later, keep=KEEP)
        assert not await store.put(user, entry_at(2**53), keep=KEEP)
        assert await store.get(user) == later

    async def test_of_many_writers_at_once_the_newest_stands(self, store: CacheStore, user: UserKey) -> None:
        versions = list(range(1, 51))
        random.Random(user.user_id).shuffle(versions)
        async with anyio.create_task_group() as group:
            for version in versions:
                group.start_soon(partial(store.put, user, entry_at(version), keep=KEEP))
        assert await store.get(user) == entry_at(50)

    async def test_of_writers_in_two_processes_the_newest_stands(self, store: CacheStore) -> None:
        async with aclosing(await self.reopen()) as other:
            for _ in range(20):
                user = UserKey("contract", uuid4().hex)
                versions = list(range(1, 11))
                random.Random(user.user_id).shuffle(versions)
                async with anyio.create_task_group() as group:
                    for version in versions:
                        writer = store if version % 2 else other
                        group.start_soon(partial(writer.put, user, entry_at(version), keep=KEEP))
                assert await store.get(user) == await other.get(user) == entry_at(10)

    async def test_what_another_process_put_is_read_and_outranks_what_is_older(
        self, store: CacheStore, user: UserKey
    ) -> None:
        assert await store.put(user, entry_at(5, text="secret"), keep=KEEP)
        assert await store.get(user) == entry_at(5, text="secret")
        async with aclosing(await self.reopen()) as other:
            assert await other.put(user, tombstone_at(6), keep=KEEP)
            assert await store.get(user) == tombstone_at(6)
            assert not await store.put(user, entry_at(5, text="secret"), keep=KEEP)
            assert await other.get(user) == tombstone_at(6)

    async def test_an_equal_entry_stands_and_is_kept_anew(self, store: CacheStore, user: UserKey) -> None:
        assert await store.put(user, entry_at(5), keep=KEEP)
        assert await store.put(user, entry_at(5), keep=2 * KEEP)
        assert await self.raw_ttl(user) > KEEP

    async def test_an_older_entry_changes_nothing(self, store: CacheStore, user: UserKey) -> None:
        assert await store.put(user, entry_at(5, text="new"), keep=KEEP)
        assert not await store.put(user, entry_at(4, text="old"), keep=2 * KEEP)
        assert await store.get(user) == entry_at(5, text="new")
        assert await self.raw_ttl(user) <= KEEP

    async def test_a_tentative_entry_beats_the_clean_one_of_its_version_only(
        self, store: CacheStore, user: UserKey
    ) -> None:
        tentative = entry_at(5, tentative_at=NOW)
        assert await store.put(user, tentative, keep=KEEP)
        assert not await store.put(user, entry_at(5, synced_at=NOW + 60), keep=KEEP)
        assert await store.get(user) == tentative
        assert await store.put(user, entry_at(6), keep=KEEP)
        assert await store.get(user) == entry_at(6)

    async def test_a_late_fill_cannot_undo_a_deletion(self, store: CacheStore, user: UserKey) -> None:
        assert await store.put(user, entry_at(5, text="secret"), keep=KEEP)
        assert await store.put(user, tombstone_at(6), keep=KEEP)
        for late in (entry_at(5, text="secret"), entry_at(5, tentative_at=NOW + 60, text="secret")):
            assert not await store.put(user, late, keep=KEEP)
        assert await store.get(user) == tombstone_at(6)

    @pytest.mark.parametrize("keep", [60.0, 100 * 86_400.0, 0.5])
    async def test_an_entry_is_kept_as_long_as_asked(self, store: CacheStore, user: UserKey, keep: float) -> None:
        assert await store.put(user, entry_at(1), keep=keep)
        assert keep * 0.5 - 0.5 < await self.raw_ttl(user) <= keep

    @pytest.mark.parametrize("keep", [1e-9, 1e12, float("inf")])
    async def test_any_keep_is_taken(self, store: CacheStore, user: UserKey, keep: float) -> None:
        assert await store.put(user, entry_at(1), keep=keep)

    async def test_ids_are_matched_exactly(self, store: CacheStore, user: UserKey) -> None:
        entries = {UserKey(user.user_id, id): entry_at(place) for place, id in enumerate(AWKWARD_IDS)}
        for awkward, entry in entries.items():
            assert await store.get(awkward) is None
            assert await store.put(awkward, entry, keep=KEEP)
            await self.spread(store, awkward)
        assert await store.get_many(list(entries)) == entries
        for awkward, entry in entries.items():
            assert await store.get(awkward) == entry

    async def test_a_namespace_ends_where_it_ends(self, store: CacheStore, user: UserKey) -> None:
        base = user.user_id
        first, second = UserKey(f"{base}a", "b:c"), UserKey(f"{base}a:b", "c")
        assert await store.put(first, entry_at(1), keep=KEEP)
        assert await store.get(second) is None
        assert await store.get(UserKey(base, "b:c")) is None

    @pytest.mark.parametrize("count", [0, 1, 120])
    async def test_many_are_read_at_once(self, store: CacheStore, user: UserKey, count: int) -> None:
        entries = {UserKey(user.user_id, str(place)): entry_at(place) for place in range(count)}
        for key, entry in entries.items():
            await store.put(key, entry, keep=KEEP)
            await self.spread(store, key)
        asked = [*entries, *reversed(entries), UserKey(user.user_id, "absent")]
        assert await store.get_many(asked) == entries
        assert await store.get_many(list(entries)) == entries

    async def test_the_largest_entry_fits(self, store: CacheStore, user: UserKey) -> None:
        entry = entry_at(1, text="x" * 64 * 1024)
        assert await store.put(user, entry, keep=KEEP)
        assert await store.get(user) == entry

    async def test_a_reader_cannot_change_what_another_sees(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, full_entry(), keep=KEEP)
        for part in _parts(await store.get(user)):
            if isinstance(part, msgspec.Struct):
                with pytest.raises(AttributeError):
                    setattr(part, part.__struct_fields__[0], "changed")
            else:
                assert isinstance(part, tuple | str | int | float | datetime | None)

    async def test_a_cancelled_get_leaves_the_store_whole(self, store: CacheStore, user: UserKey) -> None:
        other = UserKey("contract", f"other of {user.user_id}")
        await store.put(user, entry_at(1), keep=KEEP)
        await store.put(other, entry_at(2), keep=KEEP)
        turns = 0
        while not await finishes_within(turns, lambda: store.get(user)):
            assert await store.get(other) == entry_at(2)
            turns += 1
        assert await store.get(user) == entry_at(1)

    async def test_a_cancelled_put_leaves_the_store_whole(self, store: CacheStore, user: UserKey) -> None:
        other = UserKey("contract", f"other of {user.user_id}")
        await store.put(user, entry_at(1), keep=KEEP)
        await store.put(other, entry_at(2), keep=KEEP)
        turns = 0
        while not await finishes_within(turns, lambda: store.put(user, entry_at(3), keep=KEEP)):
            assert await store.get(other) == entry_at(2)
            assert await store.get(user) in (entry_at(1), entry_at(3))
            turns += 1
        assert await store.get(user) == entry_at(3)


class EventualCacheContract(CacheContract):
    """For a backend whose `get` and `put` promise all of `CacheContract`, but whose `get_many` is only eventually so.

    What `get_many` shows of a user was put, whole, and is no newer than what `get` shows; it may be an older entry,
    or none, for as long as the backend says. It shows the last one in the end, if nothing more is put.
    """

    @abstractmethod
    async def hold_back(self, user: UserKey) -> None:
        """Keep the backend from spreading what is put of *user* from now on."""

    @abstractmethod
    async def let_go(self, user: UserKey) -> None:
        """End that."""

    async def test_what_was_deleted_is_shown_no_more_once_the_tombstone_was_put(self, store: CacheStore) -> None:
        assert store.cleared_after > 0, "a receipt that says less would be wrong"

    async def test_many_may_lag_behind_one_and_catch_up(self, store: CacheStore, user: UserKey) -> None:
        assert await store.put(user, entry_at(5, text="old"), keep=KEEP)
        await self.spread(store, user)
        await self.hold_back(user)
        assert await store.put(user, entry_at(6, text="new"), keep=KEEP)
        assert await store.get(user) == entry_at(6, text="new"), "one is read from where it was put"
        assert await store.get_many([user]) == {user: entry_at(5, text="old")}
        assert not await store.put(user, entry_at(5, text="old"), keep=KEEP), "what lags decides nothing"
        await self.let_go(user)
        await self.spread(store, user)
        assert await store.get_many([user]) == {user: entry_at(6, text="new")}

    async def test_many_may_miss_what_one_shows(self, store: CacheStore, user: UserKey) -> None:
        await self.hold_back(user)
        assert await store.put(user, entry_at(5), keep=KEEP)
        assert (await store.get(user), await store.get_many([user])) == (entry_at(5), {})
        await self.let_go(user)
        await self.spread(store, user)
        assert await store.get_many([user]) == {user: entry_at(5)}


class StoredCacheContract(CacheContract):
    """For a backend that keeps bytes: what becomes of damaged ones. The hooks bypass the store under test."""

    @abstractmethod
    async def raw_get(self, key: str) -> bytes | None:
        """Return what the backend holds under *key*."""

    @abstractmethod
    async def raw_set(self, key: str, value: bytes) -> None:
        """Make the backend hold *value* under *key*."""

    async def test_the_document_stands_in_the_backend_under_the_users_key(
        self, store: CacheStore, user: UserKey
    ) -> None:
        await store.put(user, full_entry(), keep=KEEP)
        assert codec.encode(full_entry()) in (await self.raw_get(entry_key(user)) or b"")

    @pytest.mark.parametrize("value", [b"", b"\n", b"\0", b"\xff\xfe", b"{}", b"null", b"5.0.0\n", b"[" * 10_000])
    async def test_bytes_that_are_no_entry_are_corrupt_until_the_next_put(
        self, store: CacheStore, user: UserKey, value: bytes
    ) -> None:
        await self.raw_set(entry_key(user), value)
        with pytest.raises(CorruptEntryError):
            await store.get(user)
        assert await store.put(user, entry_at(5), keep=KEEP)
        assert await store.get(user) == entry_at(5)

    async def test_a_truncated_entry_is_corrupt_until_it_is_put_again(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, full_entry(), keep=KEEP)
        value = await self.raw_get(entry_key(user)) or b""
        for length in range(0, len(value), 7):
            await self.raw_set(entry_key(user), value[:length])
            with pytest.raises(CorruptEntryError):
                await store.get(user)
        assert await store.put(user, full_entry(), keep=KEEP)
        assert await store.get(user) == full_entry()

    async def test_an_entry_of_a_future_format_is_corrupt(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, entry_at(1), keep=KEEP)
        value = await self.raw_get(entry_key(user)) or b""
        assert value.count(b'"format":1') == 1
        await self.raw_set(entry_key(user), value.replace(b'"format":1', b'"format":2'))
        with pytest.raises(CorruptEntryError, match="format 2"):
            await store.get(user)

    async def test_a_corrupt_entry_hides_no_other(self, store: CacheStore, user: UserKey) -> None:
        others = {UserKey(user.user_id, str(place)): entry_at(place) for place in range(3)}
        for other, entry in others.items():
            await store.put(other, entry, keep=KEEP)
            await self.spread(store, other)
        await self.raw_set(entry_key(user), b"no entry")
        assert await store.get_many([user, *others]) == others
