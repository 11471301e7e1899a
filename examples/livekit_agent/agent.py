"""A voice agent that remembers its callers. Keep this file and make it yours; `offline/` is what may go.

python agent.py demo       two calls of one user, typed: no keys, no server, no audio device
python agent.py voice      the same two calls, spoken: needs flite
python agent.py console    talk to it yourself; dev and start: LiveKit's own modes too
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from dotenv import load_dotenv
from livekit.agents import NOT_GIVEN, AgentSession, JobContext, JobProcess, cli

import providers
from edgememory import ConfigError, EdgeMemory
from edgememory.integrations.livekit import LiveKitMemory, MemoryAgent, MemoryServer, MemoryToolset, attach
from edgememory.integrations.turns import TurnMemory

HERE = Path(__file__).parent
INSTRUCTIONS = """
You take calls at the desk of a restaurant. You speak, so answer in one or two short sentences, without lists.
What is known of the caller is what they told you: use it where it helps, and say so if you do not know something.
When they ask you to remember or to forget something, use the tools.
"""
GREETING = """
Greet the caller: by name, with one thing that you know of them, if you know them; else ask who is calling.
"""

load_dotenv(HERE / ".env")


def open_memory() -> EdgeMemory:
    """Near the users it is what edgememory.toml says; on your own machine a folder will do."""
    folder = os.environ.get("MEMORY_FOLDER")
    return EdgeMemory.embedded(folder) if folder else EdgeMemory.from_config(HERE / "edgememory.toml")


memory = LiveKitMemory(open_memory)


def prewarm(process: JobProcess) -> None:
    """Load what takes its time before there is a call."""
    memory.prewarm(process)
    providers.load(providers.choose(os.environ))


server = MemoryServer(memory, setup_fnc=prewarm)


class Receptionist(MemoryAgent):
    def __init__(self) -> None:
        super().__init__(instructions=INSTRUCTIONS, tools=[MemoryToolset()])

    async def on_enter(self) -> None:
        await super().on_enter()
        self.session.generate_reply(instructions=GREETING)


async def entrypoint(
    ctx: JobContext, new_session: Callable[[], AgentSession[TurnMemory]] = providers.new_session
) -> None:
    """Answer one call. Each runs in a process of its own."""
    rehearsed = ctx.is_fake_job()  # in the console and offline nobody dials in, and there is no room
    call = await memory.open_session(ctx, os.environ.get("CALLER_ID") if rehearsed else None)
    session = new_session()
    session.userdata = attach(session, call)  # its `waited` is what memory took of the last reply, for your metrics
    await session.start(Receptionist(), room=NOT_GIVEN if rehearsed else ctx.room)


server.rtc_session(entrypoint, on_request=memory.warm_on_request, on_session_end=memory.on_session_end)


if __name__ == "__main__":
    choice = providers.choose(os.environ)
    match sys.argv[1:]:
        case ["demo" | "voice" as mode]:
            from offline import rehearsal

            sys.exit(rehearsal.main(mode))
        case ["start", *_] if choice.offline:
            sys.exit(f"{choice}. What needs no key is not for callers: set the keys of .env.example before `start`.")
        case ["start" | "dev" | "console" | "connect", *_]:
            print(choice, flush=True)
            try:
                open_memory()  # it opens nothing yet: a setting that is missing is named before anything runs
            except ConfigError as error:
                sys.exit(f"{error}. Copy .env.example to .env, beside agent.py, and fill it in.")
        case _:
            pass  # LiveKit says what there is
    providers.load(choice)
    cli.run_app(server)
