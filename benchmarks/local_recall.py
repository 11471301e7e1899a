"""`Session.recall` in the process: a full snapshot, and 500 messages that were said since."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle, islice

from benchmarks.chatter import Chatter
from benchmarks.measure import Result, compare, percentile
from edgememory import EdgeMemory
from edgememory.limits import LIMITS
from edgememory.session import Session

_USER = "user-42"
_MESSAGES = 500
_NUMBER = 100
_AT_MOST: Mapping[int, float] = {50: 1.0, 99: 3.0}  # milliseconds: a turn must not feel it


async def measured() -> AsyncIterator[Result]:
    chatter = Chatter(1)
    questions = cycle([chatter.question() for _ in range(_NUMBER)])
    async with EdgeMemory.in_memory() as memory, _told(memory, chatter) as (session, texts):

        async def recall() -> None:
            await session.recall(next(questions))

        async def look_through() -> None:
            words = next(questions).split()
            sorted(texts, key=lambda text: sum(map(text.split().count, words)))

        await recall()  # the first one reads everything
        for percent, at_most in _AT_MOST.items():
            yield await compare(
                f"Session.recall, {len(texts)} texts: {percent} % of searches",
                percentile(percent, recall, number=_NUMBER),
                percentile(percent, look_through, number=_NUMBER),
                beside="counting the words in each text, split anew",
                unit="ms",
                ours_at_most=at_most,
            )


@asynccontextmanager
async def _told(memory: EdgeMemory, chatter: Chatter) -> AsyncGenerator[tuple[Session, list[str]]]:
    """Open a session of somebody of whom as much is known as a snapshot holds, and say much in it."""
    facts = list(islice(chatter.texts(20), LIMITS.facts))
    summaries = list(islice(chatter.texts(120), LIMITS.summaries))
    messages = list(islice(chatter.texts(), LIMITS.messages + _MESSAGES))
    async with memory.session(_USER) as earlier:
        for fact in facts:
            earlier.remember(fact)
        for summary in summaries:
            earlier.add_summary(summary)
        for text in messages[: LIMITS.messages]:
            earlier.add_message("user", text)
        await earlier.committed()
    async with memory.session(_USER) as session:
        for text in messages[LIMITS.messages :]:
            session.add_message("user", text)
        yield session, facts + summaries + messages
