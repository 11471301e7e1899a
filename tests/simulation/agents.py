"""What processes do in a simulated world: they open sessions, talk, look, delete, are cancelled, and die."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any

import anyio

from edgememory.errors import NotCommittedError, NotDurableError, StoreError
from edgememory.session import Session
from edgememory.testing.history import Broke, Closed, Deleted, Flushed, Idled, WasCommitted
from tests.simulation.converged import converge
from tests.simulation.process import Process
from tests.simulation.steps import cancelled_at
from tests.simulation.stores import POISON, REFUSED, true_time
from tests.simulation.world import Host, World

_said = count()
MOST_AWAITS = 60
LONGEST_WORK = 25.0
TIME_ENOUGH = 90.0
"""Seconds: longer than a lease of somebody who died, a poll, and the longest pause between two tries together; and long
enough to find the many changes among hundreds that are refused."""


async def live(world: World, host: Host) -> None:
    """Run one process after the other on *host*, until the world ends; the last one stays until all is delivered."""
    while world.going:
        with world.process(host) as process:
            async with process.memory:
                await _work(process)
                if not world.going:
                    await anyio.sleep(world.ends + LONGEST_WORK + TIME_ENOUGH - true_time())
                    waiting = (await host.outbox.depth()).changes
                    world.history.add(Idled(at=true_time(), process=process.name, waiting=waiting))
                    if not await world.waiting():  # of a host whose processes are all dead, perhaps
                        await converge(process)
            world.history.add(
                Closed(
                    at=true_time(),
                    process=process.name,
                    background_errors=process.memory.counters.background_errors,
                    running=process.requests,
                )
            )
        await anyio.sleep(world.random.choice((0.0, 0.5, 4.0)))


async def _work(process: Process) -> None:
    random = process.world.random
    agent = Agent(process)
    async with anyio.create_task_group() as agents:
        for _ in range(random.randint(1, 3)):
            agents.start_soon(agent.work)
        await anyio.sleep(random.uniform(0.5, LONGEST_WORK))
        agent.quits = True
        match random.choice(("leaves", "leaves", "hurries", "dies", "dies")):
            case "hurries":
                agents.cancel_scope.cancel()
            case "dies":
                process.die()
            case _:
                pass


class Agent:
    """Some callers of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world
        self._random = process.world.random
        self._memory = process.memory
        self._witness = process.witness
        self.quits = False

    async def work(self) -> None:
        while self._world.going and not self.quits:
            await anyio.sleep(self._random.expovariate(1.0))
            await self._act(self._random.choice(self._world.users))

    async def _act(self, user: str) -> None:
        acts: list[tuple[Callable[[str], Coroutine[Any, Any, None]], int]] = [
            (self.talk, 20),
            (self.introduce, 3),
            (self.warm, 4),
            (self.flush, 1),
            (self.crowd, 1),
            (self.delete, 1),
        ]
        (act,) = self._random.choices([act for act, _ in acts], [weight for _, weight in acts])
        with anyio.CancelScope() as scope:
            match self._random.randrange(10):
                case 0:  # at any moment
                    scope.deadline = anyio.current_time() + self._random.uniform(0.0, 0.7)
                    await act(user)
                case 1:  # at any await, also at one that takes no time
                    await cancelled_at(self._random.randint(1, MOST_AWAITS), scope.cancel, act(user))
                case _:
                    await act(user)

    async def crowd(self, user: str) -> None:
        """Several callers at once, some of whom hang up at once."""
        async with anyio.create_task_group() as group:
            for _ in range(self._random.randint(2, 5)):
                group.start_soon(self._act_of_one_in_a_crowd, user)

    async def _act_of_one_in_a_crowd(self, user: str) -> None:
        with anyio.CancelScope() as scope:
            if self._random.random() < 0.5:
                scope.deadline = anyio.current_time() + self._random.uniform(0.0, 0.2)
            await self.talk(user)

    async def talk(self, user: str) -> None:
        shown = [version for whose, version in self._world.shown if whose == user]
        at_least = self._random.choice(shown) if shown and self._random.random() < 0.4 else 0
        async with self._session(user, at_least) as session:
            for _ in range(self._random.randint(0, 3)):
                await self._change(session, user)
                self._witness.saw(session, user)
            if self._random.random() < 0.15:
                await self._wait_for_the_origin(session, user)
            self._witness.saw(session, user)

    async def introduce(self, user: str) -> None:
        """Talk to a caller who says only later who it is, or hangs up before that."""
        said: list[str] = []
        opened = False
        session = self._memory.session(None)
        try:
            async with session:
                for _ in range(self._random.randint(1, 3)):
                    said.append(f"text {next(_said)}")
                    session.add_message("user", said[-1], at=datetime.fromtimestamp(true_time(), UTC))
                    await anyio.sleep(self._random.choice((0.0, 0.3, 3.0)))
                if self._random.random() < 0.2:
                    return
                try:
                    began = true_time()
                    await session.identify(user)
                    opened = True
                    self._witness.opened(session, user, began)
                    for number, text in enumerate(said, 1):
                        self._witness.made(session, user, text, later=len(said) - number)
                    await self._change(session, user)
                    self._witness.saw(session, user)
                finally:
                    began = true_time()
        except Exception as error:
            self._witness.note(Broke, user, true_time(), error=f"{type(error).__name__}: {error}")
        finally:
            if opened:
                self._witness.left(session, user, began)

    @asynccontextmanager
    async def _session(self, user: str, at_least: int) -> AsyncIterator[Session]:
        began = true_time()
        session = self._memory.session(user, at_least=at_least)
        opened = False
        try:
            async with session:
                opened = True
                self._witness.opened(session, user, began, at_least=at_least)
                try:
                    yield session
                finally:
                    began = true_time()
        except Exception as error:
            self._witness.note(Broke, user, began, error=f"{type(error).__name__}: {error}")
        finally:
            if opened:
                self._witness.left(session, user, began)

    async def _change(self, session: Session, user: str) -> None:
        if self._random.random() < 0.7:
            await anyio.sleep(self._random.choice((0.0, 0.01, 0.3, 3.0)))
        text = f"text {next(_said)}"
        gone = ""
        match self._random.randint(0, 19):
            case 0:
                text = f"{POISON} {text}"
                session.remember(text)
            case 1:
                text = f"{REFUSED} {text}"
                session.remember(text)
            case 2 | 3 | 4 | 5:
                session.add_message("user", text, at=datetime.fromtimestamp(true_time(), UTC))
            case 6:
                session.set_name(text)
            case 7:
                session.remember(text)
                session.forget(text)
            case 8:
                gone = f"no {text}"
                session.remember(gone)
                session.remember(text, replaces=gone)
            case 9:
                session.set_preference(f"of {text}", text)
            case 10 | 11:
                session.add_summary(text)
            case _:
                session.remember(text)
        if session.ended:
            return
        self._witness.made(session, user, text, refusable=text.startswith((POISON, REFUSED)))
        if gone:
            self._witness.made(session, user, gone, form="forgotten")

    async def _wait_for_the_origin(self, session: Session, user: str) -> None:
        began = true_time()
        with anyio.move_on_after(10):
            try:
                version = await session.committed()
            except (NotCommittedError, StoreError):
                return
            self._witness.note(WasCommitted, user, began, session=session.session_id, version=version)
            if self._process.alive:
                self._world.shown.append((user, version))

    async def warm(self, user: str) -> None:
        began = true_time()
        read = await self._memory.warm(user, timeout=self._random.choice((0.01, 0.5, 5.0)))
        self._witness.read(user, began, read)

    async def flush(self, user: str) -> None:
        began = true_time()
        with suppress(NotDurableError):
            await self._memory.flush(timeout=self._random.choice((0.05, 5.0)))
            self._process.note(Flushed(at=true_time(), began=began, process=self._process.name))

    async def delete(self, user: str) -> None:
        began = true_time()
        try:
            receipt = await self._memory.delete_user(user)
        except StoreError:
            return
        cleared = frozenset(store.store for store in receipt.stores if store.cleared)
        self._witness.note(Deleted, user, began, version=receipt.version, cleared=cleared)
