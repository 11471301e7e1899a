"""The host's cache, on real files, through a second connection."""

import base64
import fcntl
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection
from types import SimpleNamespace
from uuid import uuid4

import anyio
import pytest

from edgememory import codec
from edgememory.errors import ConfigError, CorruptEntryError, StoreBlockedError, StoreUnavailableError
from edgememory.keys import entry_key
from edgememory.models import UserKey
from edgememory.sealing import Sealing
from edgememory.store import CacheStore
from edgememory.stores import host_file
from edgememory.stores.host import HostStore
from edgememory.testing.cache_contract import KEEP, CacheContract, StoredCacheContract
from edgememory.testing.examples import entry_at, full_entry, tombstone_at

KEY, OTHER_KEY = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
USER = UserKey("contract", "anna")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "host.sqlite"


def connected(path: Path) -> Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=10)


class RawHost:
    """What bypasses the store."""

    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[CacheStore]:
        self._path = path
        store = self.opened(path)
        await store.warm()
        with closing(connected(path)) as self._raw:
            yield store
        await store.aclose()

    def opened(self, path: Path) -> HostStore:
        return HostStore(path)

    async def reopen(self) -> HostStore:
        return self.opened(self._path)

    async def raw_get(self, key: str) -> bytes | None:
        row = self._raw.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    async def raw_set(self, key: str, value: bytes) -> None:
        self._raw.execute(
            "INSERT INTO entries VALUES (?, 0, 0, 0, 0, 0, 1e12, ?) ON CONFLICT (key) DO UPDATE SET value = ?",
            (key, value, value),
        )

    async def raw_ttl(self, user: UserKey) -> float:
        key = entry_key(user)
        (until,) = self._raw.execute("SELECT keep_until FROM entries WHERE key = ?", (key,)).fetchone()
        return float(until) - time.time()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestHostStore(RawHost, StoredCacheContract):
    pass


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
class TestHostStoreSealed(RawHost, CacheContract):
    def opened(self, path: Path) -> HostStore:
        return HostStore(path, sealing=Sealing([KEY]))

    async def test_nothing_of_it_can_be_read_without_the_key(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, full_entry(), keep=KEEP)
        value = await self.raw_get(entry_key(user))
        assert value is not None
        assert not any(part in value for part in codec.encode(full_entry()).split(b'"') if len(part) > 3)

    async def test_what_was_changed_or_moved_to_another_user_is_corrupt(self, store: CacheStore, user: UserKey) -> None:
        await store.put(user, entry_at(5), keep=KEEP)
        value = await self.raw_get(entry_key(user)) or b""
        other = UserKey("contract", uuid4().hex)
        await self.raw_set(entry_key(other), value)
        for place in (0, 4, 13, 30, len(value) - 1):
            await self.raw_set(entry_key(user), value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :])
            with pytest.raises(CorruptEntryError):
                await store.get(user)
        with pytest.raises(CorruptEntryError):
            await store.get(other)
        for length in range(0, len(value), 5):
            await self.raw_set(entry_key(user), value[:length])
            with pytest.raises(CorruptEntryError):
                await store.get(user)

    async def test_a_new_key_in_front_seals_and_the_old_one_still_opens(self, path: Path, store: CacheStore) -> None:
        await store.put(USER, entry_at(5), keep=KEEP)
        rotated = HostStore(path, sealing=Sealing([OTHER_KEY, KEY]))
        assert await rotated.get(USER) == entry_at(5)
        await rotated.put(USER, entry_at(6), keep=KEEP)
        with pytest.raises(CorruptEntryError, match="not sealed by a key that is known here"):
            await store.get(USER)
        await rotated.aclose()


@pytest.mark.parametrize("keys", [[], ["short"], ["!" * 44], [base64.b64encode(b"x" * 31).decode()]])
def test_a_key_that_is_none_is_refused(keys: list[str]) -> None:
    with pytest.raises(ConfigError, match="openssl rand -base64 32"):
        Sealing(keys)


# How long it was not confirmed


async def test_it_says_for_how_long_nobody_has_confirmed_an_entry_whichever_process_asks(path: Path) -> None:
    clock = 1_000.0
    store, other = HostStore(path, now=lambda: clock), HostStore(path, now=lambda: clock)
    await store.put(USER, entry_at(5), keep=KEEP)
    clock += 40
    found = await other.find(USER)
    assert found is not None
    assert (found.entry, found.unconfirmed, found.left) == (entry_at(5), 40, KEEP - 40)
    await other.put(USER, entry_at(5), keep=KEEP)
    found = await store.find(USER)
    assert found is not None
    assert found.unconfirmed == 0
    clock -= 5  # set back: nobody knows
    found = await store.find(USER)
    assert found is not None
    assert found.unconfirmed == float("inf")
    clock += 5 + KEEP
    assert await store.find(USER) is None
    assert await store.put(USER, entry_at(4), keep=KEEP), "what has expired stands in nobody's way"
    await store.aclose()
    await other.aclose()


# How much it holds


async def test_ten_thousand_users_fit_in_what_it_may_take_and_no_tombstone_goes(path: Path) -> None:
    bound = 300_000
    store = HostStore(path, max_bytes=bound)
    gone = [UserKey("contract", f"gone {number}") for number in range(20)]
    for user in gone:
        await store.put(user, tombstone_at(6), keep=KEEP)
    users = [UserKey("contract", f"user {number}") for number in range(2_000)]
    for user in users:
        await store.put(user, entry_at(5, text="x" * 500), keep=KEEP)
    with closing(connected(path)) as raw:
        (held,) = raw.execute("SELECT sum(length(value) + length(key) + 100) FROM entries").fetchone()
        assert raw.execute("SELECT bytes FROM size").fetchone() == (held,)
    assert held <= bound
    assert await store.get_many(gone) == dict.fromkeys(gone, tombstone_at(6))
    assert len(await store.get_many(users[-100:])) == 100, "the last that were put are there"
    assert len(await store.get_many(users[:1000])) == 0
    await store.aclose()
    assert sum(file.stat().st_size for file in path.parent.iterdir()) < bound * 3 + 8_000_000


# What may happen to a file


def damage_garbage(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def damage_truncated(path: Path) -> None:
    os.truncate(path, 5000)


def damage_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 20_000)


def damage_format(path: Path) -> None:
    with closing(connected(path)) as raw:
        raw.execute("PRAGMA user_version = 99")


DAMAGES = {
    "garbage": damage_garbage,
    "truncated": damage_truncated,
    "pages": damage_pages,
    "format": damage_format,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_a_damaged_file_is_set_aside_and_begun_anew(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = HostStore(path)
    for number in range(50):
        await first.put(UserKey("contract", f"{number}"), full_entry(), keep=KEEP)
    await first.aclose()
    damage(path)
    store = HostStore(path)
    with caplog.at_level(logging.WARNING):
        for number in range(50):
            assert await store.get(UserKey("contract", f"{number}")) in (None, full_entry())
            assert await store.put(UserKey("contract", f"{number}"), full_entry(), keep=KEEP)
    assert await store.get(UserKey("contract", "49")) == full_entry()
    assert len(caplog.records) == 1
    assert "was damaged" in caplog.text
    assert f"{path.name}.damaged" in os.listdir(path.parent)
    await store.aclose()


async def test_a_file_that_is_damaged_or_removed_under_an_open_store_is_begun_anew(path: Path) -> None:
    store, other = HostStore(path), HostStore(path)
    await store.put(USER, entry_at(5), keep=KEEP)
    assert await other.get(USER) == entry_at(5)
    for file in path.parent.iterdir():
        file.unlink()
    assert await other.get(USER) is None
    assert await other.put(USER, entry_at(6), keep=KEEP)
    assert await store.get(USER) == entry_at(6)
    await store.aclose()
    await other.aclose()


async def test_a_folder_in_its_place_is_an_outage_that_says_so(path: Path) -> None:
    os.makedirs(path)
    with pytest.raises(StoreBlockedError, match="not a folder"):
        await HostStore(path).get(USER)
    with pytest.raises(StoreBlockedError, match="not a folder"):
        await HostStore(path).put(USER, entry_at(1), keep=KEEP)


async def test_it_is_readable_by_its_owner_only(path: Path) -> None:
    store = HostStore(path)
    await store.put(USER, entry_at(5), keep=KEEP)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    await store.aclose()


async def test_a_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    os.close(os.open(path, os.O_CREAT, 0o644))
    store = HostStore(path)
    await store.put(USER, entry_at(5), keep=KEEP)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    await store.aclose()


def another_users(path: Path) -> None:
    os.chown(path, 12345, 12345)


def a_file_of_another_user(path: Path) -> None:
    path.touch(mode=0o666)
    another_users(path)


def a_folder_of_another_user(path: Path) -> None:
    another_users(path.parent)


def a_folder_for_all(path: Path) -> None:
    path.parent.chmod(0o1777)


@pytest.mark.parametrize("place", [a_file_of_another_user, a_folder_of_another_user, a_folder_for_all])
async def test_what_another_user_could_have_put_there_is_refused(path: Path, place: Callable[[Path], None]) -> None:
    path.parent.mkdir(mode=0o700)
    try:
        place(path)
    except PermissionError:
        pytest.skip("only root can give a file to another user")
    with pytest.raises(StoreBlockedError, match="set a path in a folder of its own"):
        await HostStore(path).get(USER)
    with pytest.raises(StoreBlockedError, match="set a path in a folder of its own"):
        await HostStore(path).put(USER, entry_at(5), keep=KEEP)


async def test_what_was_deleted_is_gone_from_the_disk(path: Path) -> None:
    store = HostStore(path)
    await store.put(USER, entry_at(5, text="the secret of Anna"), keep=KEEP)
    await store.put(USER, tombstone_at(6), keep=KEEP)
    await store.aclose()
    assert not any(b"secret of Anna" in file.read_bytes() for file in path.parent.iterdir())


async def test_it_is_opened_while_another_process_writes(path: Path) -> None:
    first, second = HostStore(path), HostStore(path)
    await first.put(USER, entry_at(5), keep=KEEP)
    with closing(connected(path)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        await second.warm()
        assert await second.get(USER) == entry_at(5)
    await first.aclose()
    await second.aclose()


async def test_a_process_that_stopped_while_it_opened_the_file_is_not_waited_for_for_ever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_file, "BUSY_SECONDS", 0.01)
    store = HostStore(path)
    path.parent.mkdir()
    with Path(f"{path}.lock").open("w") as lock:  # noqa: ASYNC230  (an empty file)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailableError, match="another process is opening the file"):
            await store.warm()
    await store.warm()
    await store.aclose()


async def test_closing_waits_for_no_thread_and_the_thread_closes_the_file(path: Path) -> None:
    store = HostStore(path)
    await store.put(USER, entry_at(5), keep=KEEP)
    with closing(connected(path)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: store.put(USER, entry_at(6), keep=KEEP))
            while not store._lock.locked():  # noqa: ASYNC110  (a thread takes it)
                await anyio.sleep(0.001)
            await store.aclose()
            assert store._lock.locked()
            raw.execute("ROLLBACK")
        assert store._file is None
        assert await store.get(USER) == entry_at(6), "and it opens again"
    await store.aclose()


async def test_of_a_small_file_system_it_takes_a_third(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    small = SimpleNamespace(f_frsize=4096, f_blocks=120)
    monkeypatch.setattr(os, "statvfs", lambda _: small)
    store = HostStore(path)
    for number in range(60):
        await store.put(UserKey("contract", str(number)), entry_at(1, text="x" * 4096), keep=KEEP)
    with closing(connected(path)) as raw:
        (used,) = raw.execute("SELECT bytes FROM size").fetchone()
    assert 0 < used <= 4096 * 120 // 3
    await store.aclose()


async def test_a_writer_that_holds_the_file_holds_no_reader_up(path: Path) -> None:
    store = HostStore(path)
    await store.put(USER, entry_at(5), keep=KEEP)
    with closing(connected(path)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        assert await store.get(USER) == entry_at(5)
        with anyio.move_on_after(0.05) as scope:
            await store.put(USER, entry_at(6), keep=KEEP)
        assert scope.cancelled_caught
        raw.execute("ROLLBACK")
    await store.put(USER, entry_at(7), keep=KEEP)
    assert await store.get(USER) == entry_at(7)
    await store.aclose()


PUTTING = """
import anyio, sys
from edgememory.models import UserKey
from edgememory.stores.host import HostStore
from edgememory.testing.examples import entry_at

async def main():
    store = HostStore(sys.argv[1])
    first = int(sys.argv[2])
    print("ready", flush=True)
    for version in range(first, 100_000, 4):
        await store.put(UserKey("contract", "anna"), entry_at(version, text="x" * 3000), keep=3600)
        await store.put(UserKey("contract", str(version % 50)), entry_at(version), keep=3600)

anyio.run(main)
"""


@pytest.fixture
def putting(path: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    processes = [
        subprocess.Popen([sys.executable, "-c", PUTTING, path, str(number)], stdout=subprocess.PIPE)
        for number in range(4)
    ]
    yield processes
    for process in processes:
        process.kill()
        process.communicate(timeout=10)


async def test_processes_that_are_killed_while_they_put_leave_it_whole_and_never_going_back(
    path: Path, putting: list["subprocess.Popen[bytes]"], caplog: pytest.LogCaptureFixture
) -> None:
    for process in putting:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    store, seen = HostStore(path), -1
    for killed in putting:
        for _ in range(200):
            entry = await store.get(USER)
            version = -1 if entry is None else entry.snapshot.version
            assert version >= seen
            seen = version
            await anyio.lowlevel.checkpoint()
        killed.kill()
    assert seen > 0
    with closing(connected(path)) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not caplog.records
    await store.aclose()
