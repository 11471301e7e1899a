"""Who calls, and who says so."""

import json
import logging
from collections.abc import Mapping
from enum import IntEnum
from typing import cast

from livekit import rtc
from livekit.agents import JobContext, JobRequest
from livekit.agents.job import DEFAULT_PARTICIPANT_KINDS
from livekit.protocol import models
from msgspec import Struct

from edgememory.errors import InvalidInputError
from edgememory.limits import LIMITS, check_text

_log = logging.getLogger("edgememory")

USER_ID = "user_id"
"""The key in a job's metadata, and the name of a participant's attribute."""
PHONE_NUMBER = "sip.phoneNumber"
"""LiveKit's own attribute of who calls by phone."""


class Verified(IntEnum):
    """How far it may be relied on that the caller is that user; more is higher."""

    UNVERIFIED = 0
    """Nobody is known, or only the caller says so: an attribute that the participant may change."""
    CALLER_ID = 1
    """The phone network says so. Whoever wants to can call with a number that is not theirs."""
    SIGNED = 2
    """Your own backend says so: in a token, or in a dispatch, made with your API secret."""
    CONFIRMED = 3
    """The caller has shown it in this call: by a PIN, say."""


class Caller(Struct, frozen=True):
    """A user's id, if there is one, and how far it is verified."""

    user_id: str | None = None
    verified: Verified = Verified.UNVERIFIED


async def resolve_user_id(ctx: JobContext) -> Caller:
    """Find out who calls: from the job's metadata, and otherwise from the first participant, who is waited for.

    The metadata is a JSON object with `user_id`. Of a participant it is the attribute `user_id`, else the identity, or
    the number of one who calls by phone. A fake job, as in the console, has no participant to wait for.
    """
    if (caller := of_metadata(ctx.job.metadata)) is not None:
        return caller
    if ctx.is_fake_job():
        return Caller()
    ready = await ctx.wait_for_participant()
    # LiveKit's session listens to the first in the room, though a later one may be ready earlier: whom it listens to
    # must be whose memory it is told.
    people = (it for it in ctx.room.remote_participants.values() if it.kind in DEFAULT_PARTICIPANT_KINDS)
    participant = next(people, ready)
    return of_participant(
        participant.identity,
        participant.attributes,
        by_phone=participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
        may_change=participant.permissions.can_update_metadata,
    )


def of_request(request: JobRequest) -> Caller:
    """Say who calls, as far as that is known before the job is accepted."""
    publisher = request.publisher
    if (caller := of_metadata(request.job.metadata)) is not None or publisher is None:
        return caller or Caller()
    return of_participant(
        publisher.identity,
        publisher.attributes,
        by_phone=publisher.kind == models.ParticipantInfo.Kind.SIP,
        may_change=publisher.permission.can_update_metadata,
    )


def of_metadata(metadata: str) -> Caller | None:
    try:
        told: object = json.loads(metadata)
    except (ValueError, RecursionError):
        return None
    user_id = cast(dict[str, object], told).get(USER_ID) if isinstance(told, dict) else None
    if isinstance(user_id, bool) or not isinstance(user_id, str | int) or user_id == "":
        return None
    return _caller(str(user_id), Verified.SIGNED)


def of_participant(identity: str, attributes: Mapping[str, str], *, by_phone: bool, may_change: bool) -> Caller:
    if by_phone:  # LiveKit makes the identity of the number, and attributes may come from the call's own headers
        user_id, verified = attributes.get(USER_ID) or attributes.get(PHONE_NUMBER), Verified.CALLER_ID
    elif USER_ID in attributes:
        user_id, verified = attributes[USER_ID], Verified.UNVERIFIED if may_change else Verified.SIGNED
    else:
        user_id, verified = identity, Verified.SIGNED
    return _caller(user_id, verified) if user_id else Caller()


def _caller(user_id: str, verified: Verified) -> Caller:
    """Take whose id no store can keep for nobody: a call is answered all the same, and who calls may send such ids."""
    try:
        return Caller(check_text(USER_ID, user_id, LIMITS.user_id), verified)
    except InvalidInputError as error:
        _log.error("a caller is taken for nobody: %s", error)
        return Caller()
