"""The hooks of `LiveKitMemory`, in a job's process and in the server's."""

import asyncio
import json
from pathlib import Path

import pytest
from anyio import to_thread
from livekit.agents import JobRequest
from livekit.agents.job import JobAcceptArguments
from livekit.agents.testing import fake_job_context
from livekit.protocol import agent

from edgememory import EdgeMemory, EdgeMemoryError, InvalidInputError
from edgememory.integrations.livekit import Call, LiveKitMemory
from edgememory.models import UserKey
from edgememory.outbox.memory import MemoryOutbox
from edgememory.parts import Parts
from edgememory.session import Session
from edgememory.stores.host import HostStore
from edgememory.stores.memory_origin import InMemoryOrigin
from edgememory.tier import NearTier, Tier

pytestmark = pytest.mark.anyio


class Host:
    """A host of agents: its processes share a cache."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "host.sqlite"
        self.origin = InMemoryOrigin()
        self.made: list[EdgeMemory] = []

    def memory(self) -> EdgeMemory:
        cache = NearTier(name="host", store=HostStore(self.path), timeout=1.0)
        origin = Tier(name="origin", store=self.origin, timeout=1.0)
        self.made.append(EdgeMemory(Parts(origin=origin, outbox=MemoryOutbox(), caches=[cache])))
        return self.made[-1]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def ringing(user: str) -> tuple[JobRequest, asyncio.Event]:
    """Return a request for a call of *user*, and what is set when it is accepted."""
    accepted = asyncio.Event()

    async def accept(arguments: JobAcceptArguments) -> None:
        accepted.set()

    async def refuse(terminate: bool) -> None:
        raise AssertionError("it is to be accepted")

    job = agent.Job(metadata=json.dumps({"user_id": user}))
    return JobRequest(job=job, on_accept=accept, on_reject=refuse), accepted


async def test_a_job_opens_the_memory_that_its_process_stood_ready_with(host: Host) -> None:
    hooks = LiveKitMemory(host.memory)
    with fake_job_context() as ctx:
        await to_thread.run_sync(hooks.prewarm, ctx.proc)  # LiveKit calls it where no event loop runs
        assert host.path.exists()
        call = await hooks.open_session(ctx, "ana")
        call.session.add_message("user", "hello")
        await hooks.on_session_end(ctx)
        assert len(host.made) == 2, "the one that it practised with was closed, and stores may be closed for good"
        assert not ctx.proc.userdata
        ctx._tempdir.cleanup()  # nobody else does, and Python says so


async def test_a_job_that_opens_its_memory_twice_at_once_has_one(host: Host) -> None:
    hooks = LiveKitMemory(host.memory)
    with fake_job_context() as ctx:
        first, second = await asyncio.gather(
            hooks.open_session(ctx, "ana"), hooks.open_session(ctx, "ana"), return_exceptions=True
        )
        assert isinstance(first, Call)
        assert isinstance(second, EdgeMemoryError)
        await hooks.on_session_end(ctx)
        assert len(host.made) == 1
        ctx._tempdir.cleanup()


async def test_a_job_whose_memory_could_not_be_opened_may_try_again(host: Host) -> None:
    hooks = LiveKitMemory(host.memory)
    with fake_job_context() as ctx:
        with pytest.raises(InvalidInputError):
            await hooks.open_session(ctx, "")
        await hooks.open_session(ctx, "ana")
        await hooks.on_session_end(ctx)
        ctx._tempdir.cleanup()


async def test_a_job_whose_process_was_not_made_ready_opens_its_memory_all_the_same(host: Host) -> None:
    hooks = LiveKitMemory(host.memory)
    with fake_job_context() as ctx:
        await hooks.open_session(ctx, "ana")
        await hooks.on_session_end(ctx)
        assert len(host.made) == 1
        ctx._tempdir.cleanup()


async def test_a_process_that_cannot_be_made_ready_takes_its_call_all_the_same(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    made = iter((OSError("no such disk"), host.memory()))

    def memory() -> EdgeMemory:
        if isinstance(it := next(made), OSError):
            raise it
        return it

    hooks = LiveKitMemory(memory)
    with fake_job_context() as ctx:
        await to_thread.run_sync(hooks.prewarm, ctx.proc)
        assert "no such disk" in caplog.text
        await hooks.open_session(ctx, "ana")
        with pytest.raises(EdgeMemoryError, match="its memory open"):
            await hooks.open_session(ctx, "bert")
        await hooks.on_session_end(ctx)
        ctx._tempdir.cleanup()


async def test_the_first_recall_is_had_beside_the_beginning_of_a_call(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalled, read = asyncio.Event(), Session.recall

    async def recall(session: Session, query: str) -> object:
        found = await read(session, query)
        recalled.set()
        return found

    monkeypatch.setattr(Session, "recall", recall)
    hooks = LiveKitMemory(host.memory)
    with fake_job_context() as ctx:
        await hooks.open_session(ctx, "ana")
        async with asyncio.timeout(60):
            await recalled.wait()
        await hooks.on_session_end(ctx)
        ctx._tempdir.cleanup()


async def test_a_request_is_accepted_at_once_and_its_caller_is_brought_near(host: Host) -> None:
    hooks = LiveKitMemory(host.memory)
    request, accepted = ringing("ana")
    await hooks.start()
    await hooks.warm_on_request(request)
    assert accepted.is_set()
    near = HostStore(host.path)
    async with asyncio.timeout(60):
        while await near.get(UserKey("default", "ana")) is None:  # noqa: ASYNC110  (a file sets no Event)
            await asyncio.sleep(0.01)
    await near.aclose()
    await hooks.stop()


async def test_a_request_whose_caller_is_no_user_is_accepted(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    hooks = LiveKitMemory(host.memory)
    request, accepted = ringing("a" * 600)
    await hooks.warm_on_request(request)
    assert accepted.is_set()
    assert "use MemoryServer" in caplog.text
    await hooks.start()
    hooks.warm(request)
    assert "the limit is 512 bytes" in caplog.text
    await hooks.stop()


async def test_a_caller_whose_id_no_store_can_keep_is_answered_and_may_be_identified(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = LiveKitMemory(host.memory)
    with fake_job_context(job_metadata=json.dumps({"user_id": "a" * 600})) as ctx:
        call = await hooks.open_session(ctx)
        assert "the limit is 512 bytes" in caplog.text
        call.session.add_message("user", "hello")
        await call.identify("ana")
        await hooks.on_session_end(ctx)
        assert call.session.durable
        ctx._tempdir.cleanup()


async def test_an_id_that_the_agent_itself_gives_is_refused_in_words(host: Host) -> None:
    hooks = LiveKitMemory(host.memory)
    with fake_job_context() as ctx:
        with pytest.raises(InvalidInputError, match="the limit is 512 bytes"):
            await hooks.open_session(ctx, "a" * 600)
        ctx._tempdir.cleanup()
