"""One call: a user's session is opened, something is said, it is left. The waits are timed, what was said is noted."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter

import asyncpg
from msgspec import Struct

from edgememory.lab.people import NAMESPACE, Person
from edgememory.lab.site import Agent
from edgememory.session import Session
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


@dataclass(slots=True)
class Ledger:
    """What was said, by whom, and what a session lacked."""

    said: dict[str, str] = field(default_factory=dict[str, str])
    """The user by the text: each text is said once."""
    failures: list[str] = field(default_factory=list[str])
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
            said = self.new_text(person)
            session.add_message("user", said)
            session.add_message("assistant", self.new_text(person))
            await stay(session)
            leaving = perf_counter()
        left = perf_counter()
        self.busy -= 1
        as_expected = Expected(read.tier, read.status) == expected and session.durable
        return Call(hop, asked, opened, leaving, left, said, as_expected)

    async def delivered(self, dsn: str) -> int:
        """Count what was said and stands in the database exactly once, past all of edgememory's own code."""
        connection = await asyncpg.connect(dsn)
        try:
            rows = await connection.fetch(
                "SELECT user_id, text FROM edgememory.messages WHERE namespace = $1", NAMESPACE
            )
        finally:
            await connection.close()
        times = Counter((user_id, text) for user_id, text in rows)
        return sum(times[user_id, text] == 1 for text, user_id in self.said.items())
