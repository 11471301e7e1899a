"""One call: a user's session is opened, something is said, it is left. The waits are timed, what was said is noted."""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import perf_counter

import asyncpg
from msgspec import Struct

from edgememory.lab.people import NAMESPACE, Person
from edgememory.lab.site import Agent
from edgememory.models import Message, Snapshot
from edgememory.session import Session
from edgememory.testing.history import History
from edgememory.testing.promises import violations
from edgememory.testing.witness import Witness
from edgememory.walk import Status

OPEN_TIMEOUT = 0.5


class Call(Struct, frozen=True):
    """How long the caller waited, in seconds, and when what happened, by `perf_counter`."""

    hop: float
    """From the caller to the agent and back."""
    asked: float
    opened: float
    leaving: float
    left: float
    said: str
    as_expected: bool


class Expected(Struct, frozen=True):
    """Where the memory comes from, and in which state: else it was another scenario that was measured."""

    tier: str
    status: Status = "fresh"


async def _hangs_up(session: Session) -> None:
    """A caller who stays no longer than it takes to say two things."""


def _untimed() -> History:
    return History(open_timeout=math.inf, leave_timeout=math.inf)


@dataclass(slots=True)
class Ledger:
    """What was said, by whom, and what a session lacked."""

    said: dict[str, str] = field(default_factory=dict[str, str])
    """The user by the text: each text is said once."""
    failures: list[str] = field(default_factory=list[str])
    history: History = field(default_factory=_untimed)
    """Every call, as the promises are checked on. How long each took is judged elsewhere."""
    busy: int = 0
    """How many waits are being timed right now."""

    def new_text(self, person: Person) -> str:
        text = f"Please note down reference {len(self.said):06} for me."
        self.said[text] = person.user_id
        return text

    async def call(
        self,
        agent: Agent,
        person: Person,
        expected: Expected,
        *,
        shown: str | None = None,
        at_least: int = 0,
        timeout: float = OPEN_TIMEOUT,
        stay: Callable[[Session], Awaitable[None]] = _hangs_up,
    ) -> Call:
        """Play one call. The context block must hold *shown*, or else the person's mark, unless it is degraded."""
        self.busy += 1
        hop = await agent.site.hops.once()
        asked = perf_counter()
        async with agent.memory.session(person.user_id, at_least=at_least, timeout=timeout) as session:
            block = session.context()
            opened = perf_counter()
            read = session.opened_with
            # A degraded one says of itself that it may lack something: on a loaded machine a timeout can pass.
            if (shown or person.mark) not in block and read.status != "degraded":
                self.failures.append(f"{person.user_id}: its context block lacks what is known")
            witness = Witness(self.history.add, process=agent.name, host=agent.site.host, clock=perf_counter)
            witness.opened(session, person.user_id, asked, at_least=at_least)
            said, answered = self.new_text(person), self.new_text(person)
            session.add_message("user", said)
            witness.made(session, person.user_id, said)
            session.add_message("assistant", answered)
            witness.made(session, person.user_id, answered)
            await stay(session)
            leaving = perf_counter()
        left = perf_counter()
        self.busy -= 1
        witness.left(session, person.user_id, leaving)
        as_expected = Expected(read.tier, read.status) == expected and session.durable
        return Call(hop, asked, opened, leaving, left, said, as_expected)

    async def delivered(self, dsn: str) -> int:
        """Count what was said and stands in the database exactly once, past all of edgememory's own code.

        Hold all calls to the promises: what they broke is a failure.
        """
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch(
                "SELECT user_id, text FROM edgememory.messages WHERE namespace = $1", NAMESPACE
            )
        finally:
            await connection.close()
        times = Counter((user_id, text) for user_id, text in rows)
        self.failures += violations(replace(self.history, final=_states(times)))
        return sum(times[user_id, text] == 1 for text, user_id in self.said.items())


_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)


def _states(times: Mapping[tuple[str, str], int]) -> dict[str, Snapshot]:
    """Return each user's messages, as often as they stand in the database."""
    said: dict[str, list[Message]] = {}
    for (user_id, text), number in times.items():
        message = Message(id="", session_id="", role="user", text=text, at=_SOME_TIME)
        said.setdefault(user_id, []).extend([message] * number)
    return {user: Snapshot(version=1, exists=True, messages=tuple(messages)) for user, messages in said.items()}
