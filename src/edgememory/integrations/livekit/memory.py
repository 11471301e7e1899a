"""The memory of an agent server and of its job processes."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from livekit.agents import JobContext, JobProcess, JobRequest

from edgememory.client import EdgeMemory
from edgememory.errors import EdgeMemoryError
from edgememory.integrations.livekit.call import Call
from edgememory.integrations.livekit.caller import Caller, Verified, of_request, resolve_user_id
from edgememory.integrations.turns import TurnMemory
from edgememory.recall.language import Language

_log = logging.getLogger("edgememory")

POLL = 1.0
"""How often the server process looks for what its jobs have left in the outbox. Seconds."""
LAST_DELIVERY = 10.0
"""Seconds that the server process may take at its end to bring all of it to the origin."""

_PREPARED = "edgememory.prepared"
_OPENED = "edgememory.opened"


@dataclass(frozen=True, slots=True)
class _Opened:
    memory: EdgeMemory
    call: Call


class LiveKitMemory:
    """Made where the module of your agent is loaded, in the server's process and in each job's. That opens nothing.

    A job's process reads and writes for its one call: what is said is in the outbox within milliseconds, and there its
    part ends. The server process, which lives on, delivers for all of them (`MemoryServer`). So both need an outbox
    that they share: any but one in process memory.

    Args:
        source: the configuration file, or what makes the memory: `EdgeMemory.from_env`, or a function of a module; it
            goes from process to process by its name. Each call of it makes another one, with stores of its own.
    """

    def __init__(self, source: str | os.PathLike[str] | Callable[[], EdgeMemory]) -> None:
        self._source = source
        self._serving: EdgeMemory | None = None
        self._tasks: set[asyncio.Task[object]] = set()

    def __reduce__(self) -> tuple[type["LiveKitMemory"], tuple[object]]:
        return LiveKitMemory, (self._source,)  # its hooks go to job processes, and what is open here does not

    def _made(self) -> EdgeMemory:
        return self._source() if callable(self._source) else EdgeMemory.from_config(self._source)

    # In a job's process

    def prewarm(self, process: JobProcess) -> None:
        """Load the drivers and open the files before the process has a job, so that its first moments are the caller's.

        `MemoryServer` does it, unless it has a `setup_fnc` of yours: then call it there. It never raises: LiveKit would
        start such a process anew, for ever. Its call then waits longer.
        """
        loop = asyncio.new_event_loop()  # LiveKit's own comes later
        try:
            process.userdata[_PREPARED] = loop.run_until_complete(self._prepared())
        except Exception:  # Whatever it is, a process without a memory ready is better than none.
            _log.exception("a job's process does not stand ready with a memory")
        finally:
            loop.close()

    async def _prepared(self) -> EdgeMemory:
        # What a process does for the first time takes twice as long as the next: so this one is not the call's own.
        practised = self._made()
        await practised.open(deliver=False)
        await practised.aclose()
        await _practise()
        memory = self._made()
        await memory.prepare()
        return memory

    async def open_session(
        self,
        ctx: JobContext,
        user_id: str | None = None,
        *,
        disclose: Verified = Verified.SIGNED,
        agent_id: str | None = None,
        language: Language | None = None,
        extract: bool = True,
    ) -> Call:
        """Open the memory of this job and of its caller: the first statement of an entrypoint.

        Connections are opened once the session is, or where it waits for one. Of a known user it takes some 2 ms
        where the host's cache knows them, some 14 ms where the edge does, 5 ms away (`python -m benchmarks.livekit`),
        and half a second at the longest: an outage never raises. Where you connect to the room with options of your
        own, do it beside:
        ``await asyncio.gather(ctx.connect(...), memory.open_session(ctx))``.

        Args:
            ctx: the job's.
            user_id: if you know it, and are sure; else `resolve_user_id` asks the job and the participant.
                If nobody is known then, `Call.identify` may be told later.
            disclose: how far the caller must be verified for the model to be told what is known.
            agent_id: kept with each message.
            language: what is spoken, where it is not what the memory's language is.
            extract: whether the extractor reads the call once it is over.

        Raises:
            ConfigError: the configuration is wrong.
            EdgeMemoryError: this job has its session already.
            InvalidInputError: *user_id* or *agent_id* is empty, too long, or holds what no store can keep.
        """
        userdata = ctx.proc.userdata
        if _OPENED in userdata:
            raise EdgeMemoryError("this job has its memory open: use the Call that open_session returned")
        memory: EdgeMemory = userdata.pop(_PREPARED, None) or self._made()
        userdata[_OPENED] = None  # One that is opened beside it would be left by nobody.
        try:
            await memory.open(deliver=False)
            caller = await resolve_user_id(ctx) if user_id is None else Caller(user_id, Verified.SIGNED)
            session = memory.session(
                caller.user_id,
                # LiveKit's own id finds the call in both; that of a fake job may be the same for all of them.
                session_id=None if ctx.is_fake_job() else ctx.job.id,
                agent_id=agent_id,
                language=language,
                extract=extract,
            )
            await session.__aenter__()
        except BaseException:
            userdata.pop(_OPENED, None)
            await memory.aclose()
            raise
        call = Call(session, caller, disclose=disclose)
        userdata[_OPENED] = _Opened(memory, call)
        # The first recall reads all that is known. So have one now, beside what else a call begins with.
        self._start(session.recall(""))
        return call

    async def on_session_end(self, ctx: JobContext) -> None:
        """Leave the session, with all that was said: give it to `rtc_session` as `on_session_end`.

        LiveKit calls it after the last words were recorded, however the call ended. It waits until the outbox has
        everything and the region's caches show it, 2 s at most, and never for the origin.
        """
        opened: _Opened | None = ctx.proc.userdata.pop(_OPENED, None)
        if opened is not None:
            try:
                await opened.call.session.__aexit__(None, None, None)
            finally:
                await opened.memory.aclose()

    # In the server's process

    async def warm_on_request(self, request: JobRequest) -> None:
        """Accept the job, and bring the caller's memory near meanwhile: give it to `rtc_session` as `on_request`."""
        self.warm(request)
        await request.accept()

    def warm(self, request: JobRequest) -> None:
        """Only bring the caller's memory near, for an `on_request` of your own. Returns at once.

        It knows whom the job's metadata names, or, of a job for a participant, that one.
        """
        caller = of_request(request)
        if self._serving is None:
            _log.error("nothing is warmed, and nothing delivered: use MemoryServer(memory) for AgentServer()")
        elif caller.user_id is not None:
            self._start(self._serving.warm(caller.user_id))

    async def start(self) -> None:
        """Open the server process's own memory, and deliver for its jobs from now on. `MemoryServer` does it."""
        if self._serving is not None:
            raise EdgeMemoryError("already started")
        memory = self._made()
        await memory.open()
        self._serving = memory
        self._start(self._deliver(memory))

    async def stop(self) -> None:
        """Deliver what is left, in 10 s at most, and close; what the origin has not taken then waits in the outbox."""
        memory, self._serving = self._serving, None
        if memory is None:
            return
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if not await memory.deliver(timeout=LAST_DELIVERY):
            _log.error("the server ends before the origin has everything; the rest waits in the outbox")
        await memory.aclose()

    async def _deliver(self, memory: EdgeMemory) -> None:
        while True:
            await memory.deliver()
            await asyncio.sleep(POLL)

    def _start(self, work: Coroutine[None, None, object]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _practise() -> None:
    """Import and read what the first call of a process would otherwise wait for: it takes twice as long as the next."""
    async with EdgeMemory.in_memory() as memory:
        async with memory.session("nobody") as earlier:
            earlier.set_name("Nobody")
            earlier.set_preference("language", "English")
            earlier.remember("Lives nowhere")
            earlier.add_summary("Practised.")
            earlier.add_message("user", "Hello, this is only practice")
        async with memory.session("nobody") as session:
            session.add_message("user", "Hello again")
            await TurnMemory(session).block("", "What was practice?")
