"""Who calls, and how far that is verified."""

import json
from types import SimpleNamespace
from typing import cast

import pytest
from livekit import rtc
from livekit.agents import JobContext, JobRequest
from livekit.agents.job import JobAcceptArguments
from livekit.agents.testing import fake_job_context
from livekit.protocol import agent, models

from edgememory.integrations.livekit import Caller, Verified, resolve_user_id
from edgememory.integrations.livekit.caller import of_metadata, of_participant, of_request


@pytest.mark.parametrize(
    ("metadata", "user_id"), [('{"user_id": "ana"}', "ana"), ('{"user_id": 42, "tenant": "x"}', "42")]
)
def test_whom_a_dispatch_names_your_backend_vouches_for(metadata: str, user_id: str) -> None:
    assert of_metadata(metadata) == Caller(user_id, Verified.SIGNED)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "ana",
        "[]",
        "null",
        '{"user_id": ""}',
        '{"user_id": null}',
        '{"user_id": true}',
        '{"user": "ana"}',
        "[" * 100_000,
    ],
)
def test_other_metadata_names_nobody(metadata: str) -> None:
    assert of_metadata(metadata) is None


@pytest.mark.parametrize("user_id", ["a" * 513, "a\0b", "\ud800"])
def test_an_id_that_no_store_can_keep_is_nobodys(user_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nor is the participant asked in the place of whom the dispatch named."""
    assert of_metadata(json.dumps({"user_id": user_id})) == Caller()
    attributes = {"user_id": user_id}  # of a phone call they may be what its caller has sent
    assert of_participant("sip_+4122", attributes, by_phone=True, may_change=False) == Caller()
    assert caplog.text.count("taken for nobody: user_id") == 2


@pytest.mark.parametrize(
    ("identity", "attributes", "by_phone", "may_change", "caller"),
    [
        ("ana", {}, False, True, Caller("ana", Verified.SIGNED)),
        ("browser-7", {"user_id": "ana"}, False, False, Caller("ana", Verified.SIGNED)),
        ("browser-7", {"user_id": "ana"}, False, True, Caller("ana", Verified.UNVERIFIED)),
        ("sip_+4122", {"sip.phoneNumber": "+4122"}, True, False, Caller("+4122", Verified.CALLER_ID)),
        ("sip_+4122", {"sip.phoneNumber": "+4122", "user_id": "ana"}, True, False, Caller("ana", Verified.CALLER_ID)),
        ("sip_hidden", {}, True, False, Caller()),
        ("+4122", {"sip.phoneNumber": "+4122"}, False, False, Caller("+4122", Verified.SIGNED)),
        ("", {}, False, False, Caller()),
    ],
)
def test_a_participant_is_who_a_token_says_and_a_phone_number_is_no_proof(
    identity: str, attributes: dict[str, str], by_phone: bool, may_change: bool, caller: Caller
) -> None:
    assert of_participant(identity, attributes, by_phone=by_phone, may_change=may_change) == caller


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("metadata", "caller"), [('{"user_id": "ana"}', Caller("ana", Verified.SIGNED)), ("", Caller())]
)
async def test_a_fake_job_waits_for_no_participant(metadata: str, caller: Caller) -> None:
    with fake_job_context(job_metadata=metadata) as ctx:
        assert await resolve_user_id(ctx) == caller
        ctx._tempdir.cleanup()  # nobody else does, and Python says so


def participant(identity: str, kind: rtc.ParticipantKind.ValueType) -> SimpleNamespace:
    permissions = SimpleNamespace(can_update_metadata=False)
    return SimpleNamespace(identity=identity, kind=kind, attributes={}, permissions=permissions)


@pytest.mark.anyio
async def test_of_several_the_caller_is_whom_livekit_listens_to() -> None:
    """`RoomIO` takes the first in the room who is no machine, also where another was ready earlier."""
    standard = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    recorder = participant("recorder", rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS)
    ana, bert = participant("ana", standard), participant("bert", standard)

    class Context:
        job = agent.Job()
        room = SimpleNamespace(remote_participants={it.identity: it for it in (recorder, ana, bert)})

        def is_fake_job(self) -> bool:
            return False

        async def wait_for_participant(self) -> SimpleNamespace:
            return bert

    assert await resolve_user_id(cast(JobContext, Context())) == Caller("ana", Verified.SIGNED)


def request(job: agent.Job) -> JobRequest:
    async def rejected(terminate: bool) -> None: ...
    async def accepted(arguments: JobAcceptArguments) -> None: ...

    return JobRequest(job=job, on_reject=rejected, on_accept=accepted)


PHONE = models.ParticipantInfo(
    identity="sip_+4122", kind=models.ParticipantInfo.Kind.SIP, attributes={"sip.phoneNumber": "+4122"}
)


@pytest.mark.parametrize(
    ("job", "caller"),
    [
        (agent.Job(metadata='{"user_id": "ana"}'), Caller("ana", Verified.SIGNED)),
        (agent.Job(), Caller()),
        (agent.Job(participant=PHONE), Caller("+4122", Verified.CALLER_ID)),
        (agent.Job(participant=models.ParticipantInfo(identity="ana")), Caller("ana", Verified.SIGNED)),
    ],
)
def test_a_request_says_who_calls_as_far_as_it_is_known(job: agent.Job, caller: Caller) -> None:
    assert of_request(request(job)) == caller
