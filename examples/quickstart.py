"""Two calls from one caller: the second starts with what the first left behind.

Run it with a folder to keep the memory in, or without: `python examples/quickstart.py [FOLDER]`.
"""

import asyncio
import sys

from edgememory import EdgeMemory

CALLER = "user-42"


async def main(folder: str) -> None:
    print(f"Memory is kept in {folder}. The first opening takes some seconds.")
    async with EdgeMemory.embedded(folder) as memory:
        async with memory.session(CALLER) as session:
            print(f"\nThe first call starts with:\n\n{session.context() or '(nothing: this caller is new)'}")
            session.add_message("user", "I moved to Lisbon last week.")
            session.add_message("assistant", "Noted. Shall I change your delivery address?")
            session.remember("Lives in Lisbon")
            session.set_preference("language", "Portuguese")

        async with memory.session(CALLER) as session:
            print(f"\nThe second call starts with:\n\n{session.context()}")

    print("\nLook at the second block: it knows what the first call said, before anybody has spoken.")
    print("Then run this again. That is a new process, and its first call starts with the same.")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "quickstart-memory"))
