"""Stores in process memory that do as they are told: answer, fail, or hang until they are healed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from edgememory.changes import Change
from edgememory.errors import StoreError
from edgememory.models import Claim, Committed, Confirmed, Depth, Entry, Pending, UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.parts import Parts
from edgememory.store import OriginStore
from edgememory.stores.memory import InMemoryStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.tier import Tier

NOW = 1_750_000_000.0
ANNA, BERT = UserKey("clinic", "anna"), UserKey("clinic", "bert")


def virtual_now() -> float:
    """The wall clock of a test on virtual time."""
    return NOW + anyio.current_time()


@dataclass
class Switch:
    """Whether a store answers. Operations by name; all of them if none is named."""

    error: Exception | None = None
    operations: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)
    _open: anyio.Event | None = None

    def fail(self, error: Exception, *operations: str) -> None:
        self.error, self.operations = error, operations

    def hang(self, *operations: str) -> None:
        self._open, self.operations = anyio.Event(), operations

    def heal(self) -> None:
        self.error = None
        if self._open is not None:
            self._open.set()
        self._open = None

    async def passed(self, operation: str) -> None:
        self.asked.append(operation)
        if self.operations and operation not in self.operations:
            return
        if self._open is not None:
            await self._open.wait()
        if self.error is not None:
            raise self.error.with_traceback(None)


class FakeOutbox(MemoryOutbox):
    def __init__(self, *, now: Callable[[], float] = virtual_now) -> None:
        super().__init__(now=now)
        self.switch = Switch()
        self.answers = Switch()
        """Passed after a claim was made: it may be late to say what it has found."""

    def of_another_process(self) -> "FakeOutbox":
        """Return one that holds the same, with a switch of its own."""
        other = FakeOutbox(now=self._now)
        other._boxes, other._dead = self._boxes, self._dead
        return other

    async def append(self, user: UserKey, changes: Sequence[Change]) -> Pending:
        await self.switch.passed("append")
        return await super().append(user, changes)

    async def pending(self, user: UserKey) -> Pending:
        await self.switch.passed("pending")
        return await super().pending(user)

    async def depth(self) -> Depth:
        await self.switch.passed("depth")
        return await super().depth()

    async def claim(self, *, lease: float, limit: int) -> Sequence[Claim]:
        await self.switch.passed("claim")
        claims = await super().claim(lease=lease, limit=limit)
        await self.answers.passed("claim")
        return claims

    async def ack(self, claim: Claim, ids: Sequence[str], version: int) -> None:
        await self.switch.passed("ack")
        await super().ack(claim, ids, version)

    async def reject(self, claim: Claim, ids: Sequence[str], error: str) -> None:
        await self.switch.passed("reject")
        await super().reject(claim, ids, error)


class FakeOrigin(InMemoryOrigin):
    """`judge` is asked before each commit, and may raise; `commits` are those that were asked for."""

    def __init__(self, *, now: Callable[[], float] = virtual_now) -> None:
        super().__init__(now=now)
        self.switch = Switch()
        self.commits: list[tuple[UserKey, tuple[str, ...]]] = []
        self.commit_times: list[float] = []
        self.judge: Callable[[UserKey, Sequence[Change]], None] = lambda user, changes: None
        self.loses_answers: Exception | None = None

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        await self.switch.passed("get")
        return await super().get(user, at_least=at_least)

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        self.commits.append((user, tuple(change.id for change in changes)))
        self.commit_times.append(anyio.current_time())
        await self.switch.passed("commit")
        self.judge(user, changes)
        committed = await super().commit(user, changes)
        if self.loses_answers is not None:
            raise self.loses_answers
        return committed

    async def delete(self, user: UserKey) -> Entry:
        await self.switch.passed("delete")
        return await super().delete(user)

    async def commit_raw(self, user: UserKey, changes: Sequence[Change]) -> None:
        """Commit past the switch, as another host does."""
        await super().commit(user, changes)

    def texts(self, user: UserKey) -> list[str]:
        return [message.text for message in self.state(user).messages]


class FakeCache(InMemoryStore):
    def __init__(self) -> None:
        super().__init__(monotonic=anyio.current_time)
        self.switch = Switch()

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        await self.switch.passed("get")
        return await super().get(user, at_least=at_least)

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        await self.switch.passed("get_many")
        return await super().get_many(users)

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        await self.switch.passed("put")
        return await super().put(user, entry, keep=keep)

    async def warm(self) -> None:
        await self.switch.passed("warm")

    async def aclose(self) -> None:
        """A cache outlives who reads it."""


class FakeHost:
    """The cache that a host's processes share; it outlives them."""

    cleared_after = 0.0

    def __init__(self, *, monotonic: Callable[[], float] = anyio.current_time) -> None:
        self.switch = Switch()
        self._held = InMemoryStore(monotonic=monotonic)
        self._monotonic = monotonic

    async def find(self, user: UserKey) -> Confirmed | None:
        await self.switch.passed("get")
        held, now = self._held.peek(user), self._monotonic()
        return None if held is None else Confirmed(held.entry, now - held.true_at, held.expires_at - now)

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry | None:
        found = await self.find(user)
        return None if found is None else found.entry

    async def get_many(self, users: Sequence[UserKey]) -> Mapping[UserKey, Entry]:
        return await self._held.get_many(users)

    async def put(self, user: UserKey, entry: Entry, *, keep: float) -> bool:
        await self.switch.passed("put")
        return await self._held.put(user, entry, keep=keep)

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...


class FakeReplica:
    """One copy of an origin, `near`: up to date if it is that of the others, ignorant if it is another."""

    def __init__(self, origin: OriginStore) -> None:
        self.origin = origin
        self.switch = Switch()

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        await self.switch.passed("get")
        return await self.origin.get(user)

    async def get_each(self, user: UserKey) -> Mapping[str, Entry | StoreError]:
        try:
            return {"near": await self.get(user)}
        except StoreError as error:
            return {"near": error}

    async def warm(self) -> None:
        await self.switch.passed("warm")

    async def aclose(self) -> None: ...


def parts(origin: FakeOrigin, outbox: FakeOutbox, *caches: FakeCache) -> Parts:
    return Parts(
        origin=Tier(name="origin", store=origin, timeout=1.0, monotonic=anyio.current_time),
        outbox=outbox,
        caches=[
            Tier(name=f"cache-{number}", store=cache, timeout=0.05, monotonic=anyio.current_time)
            for number, cache in enumerate(caches)
        ],
    )
