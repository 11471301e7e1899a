"""The agent server that delivers for its jobs."""

from livekit.agents import NOT_GIVEN, AgentServer, NotGivenOr

from edgememory.integrations.livekit.memory import LiveKitMemory


class MemoryServer(AgentServer):
    """An `AgentServer` whose own process delivers what its jobs have said, and all of that before it ends.

    Its job processes load the memory's drivers before they have a job (`LiveKitMemory.prewarm`).

    LiveKit has no hook for a server's end; hence a class. Its process holds the connections that delivery needs, and a
    job's end waits for none of them.

    Args:
        memory: of the jobs.
        options: those of `AgentServer`.
    """

    def __init__(self, memory: LiveKitMemory, **options: object) -> None:
        options.setdefault("setup_fnc", memory.prewarm)
        super().__init__(**options)  # type: ignore[arg-type]  # its many options are its own matter, version by version
        self._memory = memory
        self._began = False
        self.on("worker_started", self._note_beginning)

    def _note_beginning(self) -> None:
        self._began = True

    async def run(self, *, devmode: bool = False, unregistered: bool = False) -> None:
        # Before it takes jobs: a configuration that is wrong ends the server here, in words.
        await self._memory.start()
        await super().run(devmode=devmode, unregistered=unregistered)

    # LiveKit ends a server that could not begin, too: whoever runs it is to see why, and not what LiveKit misses then.

    async def drain(self, timeout: NotGivenOr[int | None] = NOT_GIVEN) -> None:
        if self._began:
            await super().drain(timeout)

    async def aclose(self) -> None:
        try:
            if self._began:
                await super().aclose()
        finally:  # its job processes have ended by then, and all that they were told is in the outbox
            await self._memory.stop()
