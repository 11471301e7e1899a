"""A call leaves facts and a summary behind, and a later one finds what was said in it."""

import sys
from pathlib import Path

import anyio

from edgememory import EdgeMemory

CALLER = "user-42"
SAID = [
    ("user", "Hello, my name is Anna Keller."),
    ("assistant", "Hello Anna. What can I do for you?"),
    ("user", "I moved to Lisbon last week, and my daughter Lea has started school."),
    ("assistant", "How nice! Does she play an instrument?"),
    ("user", "The cello, since she was six."),
]


async def main(folder: str) -> None:
    async with EdgeMemory.embedded(folder) as memory:
        async with memory.session(CALLER) as session:
            for role, text in SAID:
                session.add_message("user" if role == "user" else "assistant", text)

        with anyio.fail_after(30):
            while not memory.counters.sessions_extracted:  # noqa: ASYNC110 - nobody but this program waits for it
                await anyio.sleep(0.05)

        async with memory.session(CALLER) as session:
            print(session.context(), end="\n\n")
            for match in await session.recall("which instrument does Lea play?", limit=2):
                print(match.text, match.why.words or "(beside it)")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else str(Path("what-matters-memory")))
