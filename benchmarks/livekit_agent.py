"""The agent whose calls `benchmarks.livekit` measures: LiveKit's own server and job processes, without its network.

The environment says where things are: CONFIG, USERS (a file of ids, a line each), RESULTS (a file that gets a line of
JSON for each call).
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from livekit.agents import AgentSession, JobContext, JobRequest
from livekit.agents.job import JobAcceptArguments
from livekit.protocol import agent

from edgememory.integrations.livekit import LiveKitMemory, MemoryAgent, MemoryServer, attach
from tests.integration.livekit.scripted import ScriptedLLM

ASSIGNING = 0.02
"""Seconds from the server's yes to the job: to LiveKit, who is in the same region, and back."""
SAID = ("Hello", "What of my invoice for March?", "And the address in Lisbon?", "Thank you, good bye")

memory = LiveKitMemory(os.environ["CONFIG"])
# An idle process stands ready for each call, as in production: its start is nothing that a caller waits for.
server = MemoryServer(memory, num_idle_processes=1, port=0, load_threshold=1e9, initialize_process_timeout=60)
_opened: dict[str, list[float]] = {}


def note(costs: Mapping[str, list[float]]) -> None:
    with Path(os.environ["RESULTS"]).open("a") as results:
        results.write(json.dumps(costs) + "\n")


async def on_session_end(ctx: JobContext) -> None:
    began = time.perf_counter()
    await memory.on_session_end(ctx)
    _opened["end"] = [time.perf_counter() - began]
    note(_opened)


@server.rtc_session(on_request=memory.warm_on_request, on_session_end=on_session_end)
async def entrypoint(ctx: JobContext) -> None:
    began = time.perf_counter()
    call = await memory.open_session(ctx, ctx.job.room.name)
    opening = time.perf_counter() - began
    session = AgentSession[None](llm=ScriptedLLM(), vad=None, turn_handling={"turn_detection": "manual"})
    turns = attach(session, call)
    await session.start(MemoryAgent(instructions="Be kind."))
    waited: list[float] = []
    for said in SAID:
        await session.run(user_input=said)
        waited.append(turns.waited)
    _opened["first"] = [opening + waited[0]]
    _opened["turns"] = waited[1:]
    _opened["cold"] = [float(call.session.degraded or not call.session.snapshot.facts)]
    ctx.shutdown()


async def ring(user: str) -> None:
    """Ask the server for a job for *user*, and give it that: as LiveKit does, which is a round trip away itself."""

    async def assign(arguments: JobAcceptArguments) -> None:
        await asyncio.sleep(ASSIGNING)
        await server.simulate_job(user, fake_job=True)

    async def stop(terminate: bool) -> None:
        raise AssertionError("the job was refused")

    job = agent.Job(metadata=json.dumps({"user_id": user}))
    await memory.warm_on_request(JobRequest(job=job, on_accept=assign, on_reject=stop))


async def main(users: Sequence[str]) -> None:
    started = asyncio.Event()
    server.on("worker_started", started.set)
    running = asyncio.create_task(server.run(devmode=True, unregistered=True))
    await started.wait()
    for user in users:
        await ring(user)
        # One call at a time: what is measured is a call, not this machine under load.
        while server.active_jobs:  # noqa: ASYNC110  (LiveKit sets no Event)
            await asyncio.sleep(0.05)
    await server.aclose()
    await running


if __name__ == "__main__":
    asyncio.run(main(Path(os.environ["USERS"]).read_text().splitlines()))
