"""A real agent server with real job processes, without LiveKit's own server: run by `test_jobs`, and by hand.

`python agent_server.py serve` takes all calls and ends; `start` is LiveKit's own command. The environment holds the
memory's settings, FOLDER and ROOMS. A room is `HOW:USER`: how its call ends, and who calls. Files in FOLDER are what
processes tell each other.
"""

import asyncio
import os
import sys
from pathlib import Path

from livekit.agents import AgentServer, AgentSession, JobContext, cli

from edgememory import EdgeMemory
from edgememory.integrations.livekit import LiveKitMemory, MemoryAgent, MemoryServer, attach
from tests.integration.livekit.scripted import ScriptedLLM

FOLDER, ROOMS = Path(os.environ["FOLDER"]), os.environ["ROOMS"].split()
CROWD = sum(room.startswith("crowd") for room in ROOMS)

memory = LiveKitMemory(EdgeMemory.from_env)
server = MemoryServer(
    memory,
    num_idle_processes=0,
    port=0,
    load_threshold=1e9,
    initialize_process_timeout=60,  # on a machine that is busy
    drain_timeout=int(os.environ["DRAIN_TIMEOUT"]),
)


async def until(*names: str) -> None:
    """Wait until others have said so."""
    while not all((FOLDER / name).exists() for name in names):  # noqa: ASYNC110  (other processes set no Event)
        await asyncio.sleep(0.01)


def say(name: str) -> None:
    (FOLDER / name).touch()


def disconnect(ctx: JobContext) -> None:
    """End the call as LiveKit's room does when it is gone: a fake job's room keeps who listens, and calls nobody."""
    for listener in ctx.room.on.return_value.call_args_list:
        if listener.args[0].__name__ == "_on_room_disconnected":
            listener.args[0]()


@server.rtc_session(on_request=memory.warm_on_request, on_session_end=memory.on_session_end)
async def entrypoint(ctx: JobContext) -> None:
    how, _, user = ctx.job.room.name.partition(":")
    call = await memory.open_session(ctx, user)
    model = ScriptedLLM()
    session = AgentSession[None](llm=model, vad=None, turn_handling={"turn_detection": "manual"})
    attach(session, call)
    await session.start(MemoryAgent(instructions="Be kind."))
    if how == "crowd":
        say(f"{user}-is-in")
        await until(*(f"user-{number}-is-in" for number in range(CROWD)))
    await session.run(user_input=f"I am {user}")
    await end(how, ctx, session, model)


async def end(how: str, ctx: JobContext, session: AgentSession[None], model: ScriptedLLM) -> None:
    if how == "cut-off":
        model.word_seconds = 3600.0  # after the first word
        speaks = asyncio.Event()
        session.on("agent_state_changed", lambda event: speaks.set() if event.new_state == "speaking" else None)
        session.generate_reply(user_input="Count to ten")
        await speaks.wait()
    if how in ("hang-up", "cut-off"):
        disconnect(ctx)
    elif how == "drained":
        say("is-talking")
        await until("is-draining")
        await session.run(user_input="Good bye")
        ctx.shutdown()
    elif how == "told-to-end":
        say("is-talking")  # and waits for what its server does
    else:
        ctx.shutdown()


async def call_all(server: AgentServer) -> None:
    for room in ROOMS:
        await server.simulate_job(room, fake_job=True)


async def serve() -> None:
    """Take all calls, drain when the last of them are under way, and end."""
    started = asyncio.Event()
    server.on("worker_started", started.set)
    running = asyncio.create_task(server.run(devmode=True, unregistered=True))
    await started.wait()
    await call_all(server)
    await until("is-talking")
    drained = asyncio.create_task(server.drain())
    while not server.draining:  # noqa: ASYNC110  (LiveKit sets no Event)
        await asyncio.sleep(0)
    say("is-draining")
    await drained
    await server.aclose()
    await running


def start() -> None:
    """Be started as in production, where LiveKit's server does not answer, and told to end by a signal."""
    tasks: list[asyncio.Task[None]] = []
    server.on("worker_started", lambda: tasks.append(asyncio.create_task(call_all(server))))
    cli.run_app(server)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        start()
