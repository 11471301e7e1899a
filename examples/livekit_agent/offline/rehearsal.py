"""Two calls of one user to the agent of agent.py: in job processes, of a real agent server that runs in this one."""

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Literal

from livekit.agents import AgentSession, ConversationItemAddedEvent, JobContext
from livekit.agents.llm import ChatMessage

import agent
from edgememory import EdgeMemory, Filters
from edgememory.integrations.livekit import MemoryServer
from edgememory.integrations.turns import TurnMemory
from offline.scripted_model import ScriptedModel
from offline.speech import FLITE_MISSING, FliteTTS, SphinxSTT, flite_is_installed, speech
from offline.telephone import telephone

CALLER = "user-42"
FIRST, SECOND = "call-1", "call-2"
"""Rooms, and what the caller says in them. All of it is what pocketsphinx can hear."""
SAID = {
    FIRST: (
        "Hello, my name is Anna.",
        "I am allergic to peanuts.",
        "Please remember that I like the table by the window.",
    ),
    SECOND: ("What am I allergic to?", "What do I like?"),
}
RECORDINGS = Path("build", "livekit_agent")
PATIENCE = 120.0
"""Seconds, for whatever is waited for: enough for a busy machine."""


def main(mode: Literal["demo", "voice"]) -> int:
    """Run both calls, and return the exit code: 0 if the agent remembered."""
    if mode == "voice" and not flite_is_installed():
        print(FLITE_MISSING)
        return 1
    logging.getLogger("livekit.agents").setLevel(logging.ERROR)  # it warns of each thing that a busy machine delays
    with tempfile.TemporaryDirectory(prefix="edgememory-") as folder:
        os.environ |= {"MEMORY_FOLDER": folder, "CALLER_ID": CALLER}  # the job processes inherit them
        remembered = asyncio.run(_two_calls(typed if mode == "demo" else spoken))
    if mode == "voice":
        print(f"both sides of the calls: {RECORDINGS}/*.wav")
    print("remembered:", "yes" if remembered else "no")
    return 0 if remembered else 1


async def _two_calls(entrypoint: Callable[[JobContext], Awaitable[None]]) -> bool:
    server = MemoryServer(agent.memory, host="127.0.0.1", port=0)
    server.rtc_session(entrypoint, on_session_end=on_session_end)
    started = asyncio.Event()
    server.on("worker_started", started.set)
    looking_on = agent.open_memory()
    await looking_on.open(deliver=False)
    try:
        async with asyncio.timeout(5 * PATIENCE), asyncio.TaskGroup() as tasks:
            tasks.create_task(server.run(devmode=True, unregistered=True))
            await started.wait()
            await _answered(server, FIRST)
            await _read(looking_on)
            await _answered(server, SECOND)
            await server.aclose()  # everything is at the origin then
        messages = (await looking_on.get_messages(CALLER)).items
    finally:
        await looking_on.aclose()
    last = messages[0].session_id
    return remembers([it.text for it in reversed(messages) if it.session_id == last and it.role == "assistant"])


def remembers(answers: Sequence[str]) -> bool:
    """Say whether an agent that said this in the second call knew what was said in the first."""
    greeting, *others = answers or [""]
    return "Anna" in greeting and any("peanuts" in it for it in others) and any("window" in it for it in others)


async def _answered(server: MemoryServer, room: str) -> None:
    print(f"\n{room}", flush=True)
    await server.simulate_job(room, fake_job=True)
    while server.active_jobs:  # noqa: ASYNC110 - the server tells nobody when a job is over
        await asyncio.sleep(0.05)


async def _read(memory: EdgeMemory) -> None:
    """Wait until the server has brought the first call to the origin, and its facts have been found there."""
    began = time.perf_counter()
    said = " ".join(SAID[FIRST])
    summary = Filters(kinds=("summary",))  # always there, and committed together with the facts
    try:
        async with asyncio.timeout(PATIENCE):
            while not await memory.search(CALLER, said, filters=summary):  # noqa: ASYNC110 - nobody else waits for it
                await asyncio.sleep(0.05)
    except TimeoutError:
        _tell("memory", f"no facts were found in {PATIENCE:.0f} s")
        return
    _tell("memory", f"facts found {_ms(began)} after its process has ended")


# In a job's process


async def typed(ctx: JobContext) -> None:
    def new_session() -> AgentSession[TurnMemory]:
        return AgentSession(llm=ScriptedModel(), vad=None, turn_handling={"turn_detection": "manual"})

    async def say(session: AgentSession[TurnMemory], text: str) -> None:
        session.generate_reply(user_input=text)

    await _rehearse(ctx, new_session, say)


async def spoken(ctx: JobContext) -> None:
    async with telephone(RECORDINGS / f"{ctx.job.room.name}.wav") as line:

        def new_session() -> AgentSession[TurnMemory]:
            session = AgentSession[TurnMemory](llm=ScriptedModel(), stt=SphinxSTT(), tts=FliteTTS())
            session.input.audio, session.output.audio = line.microphone, line.speaker
            return session

        async def say(session: AgentSession[TurnMemory], text: str) -> None:
            _tell("says", text)
            line.microphone.say(await speech(text, voice="slt"))

        await _rehearse(ctx, new_session, say)


async def _rehearse(
    ctx: JobContext,
    new_session: Callable[[], AgentSession[TurnMemory]],
    say: Callable[[AgentSession[TurnMemory], str], Awaitable[None]],
) -> None:
    """Be the caller: wait for each reply, say the next line, hang up."""
    replies = asyncio.Queue[None]()
    began = time.perf_counter()

    def observed() -> AgentSession[TurnMemory]:
        _tell("memory", f"opened in {_ms(began)}")  # no session is made before it is
        session = new_session()

        def follow(event: ConversationItemAddedEvent) -> None:
            if not isinstance(event.item, ChatMessage):
                return
            text = event.item.text_content or ""
            if event.item.role == "user":
                _tell("caller", text)
            else:
                _tell("agent", f"{text}  (memory: {1000 * session.userdata.waited:.1f} ms)")
                replies.put_nowait(None)

        session.on("conversation_item_added", follow)
        return session

    try:
        async with asyncio.timeout(PATIENCE):
            await agent.entrypoint(ctx, observed)
            await replies.get()
            for text in SAID[ctx.job.room.name]:
                await say(ctx.primary_session, text)
                await replies.get()
    finally:
        ctx.shutdown("the caller has hung up")


async def on_session_end(ctx: JobContext) -> None:
    began = time.perf_counter()
    await agent.memory.on_session_end(ctx)
    _tell("memory", f"everything is in the outbox, {_ms(began)} after the end")


def _tell(who: str, what: str) -> None:
    print(f"{who:>8}  {what}", flush=True)


def _ms(began: float) -> str:
    return f"{1000 * (time.perf_counter() - began):.1f} ms"
