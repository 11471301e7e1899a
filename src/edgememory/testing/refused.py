"""Changes that no origin takes, by what is wrong with each."""

from datetime import datetime, timedelta, timezone
from typing import cast

from edgememory.changes import Change
from edgememory.limits import LIMITS
from edgememory.models import Role, Scalar
from edgememory.testing.talk import Talk

_talk = Talk()

REFUSED: dict[str, Change] = {
    "no id": _talk.says("x", id=""),
    "an id that is no UUID": _talk.says("x", id="1"),
    "an id in capitals": _talk.says("x", id="01890A5D-AC96-774B-BCCE-B302099A8057"),
    "an unknown role": _talk.says("x", role=cast(Role, "agent")),
    "an empty message": _talk.says(""),
    "a NUL": _talk.says("a\0b"),
    "a NUL in metadata": _talk.says("x", metadata={"a": "\0"}),
    "metadata that is not flat": _talk.says("x", metadata={"a": cast(Scalar, ["b"])}),
    "metadata without a name": _talk.says("x", metadata={"": 1}),
    "large metadata": _talk.says("x", metadata={"a": "x" * LIMITS.metadata}),
    "a message that is too long": _talk.says("é" * (LIMITS.message // 2) + "x"),
    "a session id that is too long": Talk("s" * (LIMITS.session_id + 1)).says("x"),
    "an agent id that is too long": _talk.says("x", agent_id="a" * (LIMITS.agent_id + 1)),
    "a time without a zone": _talk.says("x", at=datetime(2026, 1, 1)),  # noqa: DTZ001
    "a year after the last": _talk.says("x", at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
    "a year before the first": _talk.says("x", at=datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
    "a fact that is too long": _talk.remembers("x" * (LIMITS.fact + 1)),
    "too high an importance": _talk.remembers("x", importance=11),
    "a negative importance": _talk.remembers("x", importance=-1),
    "a name that is too long": _talk.is_called("x" * (LIMITS.name + 1)),
    "an empty preference name": _talk.prefers("", 1),
    "a preference name that is too long": _talk.prefers("x" * (LIMITS.preference_name + 1), 1),
    "a preference that is too long": _talk.prefers("x", "x" * (LIMITS.preference_value + 1)),
    "a preference that is no scalar": _talk.prefers("x", cast(Scalar, {})),
    "a preference beyond 64 bits": _talk.prefers("x", 2**63),
    "a summary that is too long": _talk.sums_up("x" * (LIMITS.summary + 1)),
}
