"""What fits, and the door where everything else is refused. The same on every backend."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from edgememory.errors import InvalidInputError
from edgememory.models import Preference, Role, Scalar, UserKey
from edgememory.recall.language import Language
from edgememory.recall.query import Filters, Kind


class Limits(Struct, frozen=True, kw_only=True):
    """Counts in a snapshot, and sizes in bytes of UTF-8.

    The counts stand again in `stores/postgres/sql`, where Postgres builds snapshots; a test holds both together.
    """

    messages: int = 10
    summaries: int = 5
    facts: int = 64
    forgotten: int = 64
    preferences: int = 256
    snapshot: int = 64 * 1024
    message_in_snapshot: int = 8 * 1024
    message: int = 1024 * 1024
    metadata: int = 4 * 1024
    fact: int = 1024
    summary: int = 8 * 1024
    name: int = 512
    preference_name: int = 128
    preference_value: int = 1024
    user_id: int = 512
    session_id: int = 512
    agent_id: int = 512
    namespace: int = 64


LIMITS = Limits()
IMPORTANCE = range(11)
INTEGER = range(-(2**63), 2**63)
COUNT = range(1, 1001)


def check_text(name: str, value: str, limit: int) -> str:
    """Return *value* if it is text of 1 to *limit* bytes that every backend can hold."""
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInputError(f"{name} must be a string, not {type(value).__name__}")
    if not value:
        raise InvalidInputError(f"{name} is empty")
    if "\0" in value:
        raise InvalidInputError(f"{name} holds a NUL character, which Postgres cannot store")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"{name} holds a lone surrogate, which is not valid Unicode text") from error
    if size > limit:
        raise InvalidInputError(f"{name} is {size} bytes long; the limit is {limit} bytes of UTF-8")
    return value


def check_query(text: str) -> str:
    """Return *text* if it is text, of any length that a message may have, for it may be one; or none at all."""
    return text if text == "" else check_text("query", text, LIMITS.message)


def check_filters(filters: Filters) -> Filters:
    """Return *filters*, with times in UTC, if every backend can compare with them."""
    if not isinstance(filters, Filters):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInputError(f"filters must be Filters(...), not {type(filters).__name__}")
    for name in ("session_id", "except_session_id", "agent_id"):
        value: str | None = getattr(filters, name)
        if value is not None:
            check_text(f"filters.{name}", value, LIMITS.session_id)
    if filters.role is not None:
        check_role(filters.role)
    kinds = filters.kinds
    if not isinstance(kinds, tuple | list):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInputError(f"filters.kinds must be a tuple, such as ('fact',), not {kinds!r}")
    if wrong := [kind for kind in kinds if kind not in get_args(Kind)]:
        raise InvalidInputError(
            f"filters.kinds may hold {', '.join(get_args(Kind))}, not {', '.join(map(repr, wrong))}"
        )
    return replace(
        filters,
        former=check_bool("filters.former", filters.former),
        after=None if filters.after is None else check_time("filters.after", filters.after),
        before=None if filters.before is None else check_time("filters.before", filters.before),
        metadata=check_metadata(filters.metadata),
    )


def check_limit(value: int) -> int:
    """Return *value* if as many can be asked for at once."""
    if type(value) is not int or value not in COUNT:
        raise InvalidInputError(f"limit must be a whole number from 1 to {COUNT[-1]}, not {value!r}")
    return value


def check_language(value: Language) -> Language:
    """Return *value* if it is one whose words can be stemmed, or `simple`."""
    if value not in get_args(Language):
        raise InvalidInputError(f"language must be one of {', '.join(get_args(Language))}, not {value!r}")
    return value


def check_user(namespace: str, user_id: str) -> UserKey:
    """Return the key of a user, if both parts are within their limits."""
    return UserKey(check_text("namespace", namespace, LIMITS.namespace), check_text("user_id", user_id, LIMITS.user_id))


def check_scalar(name: str, value: Scalar, limit: int) -> Scalar:
    """Return *value* if JSON and Postgres can hold it exactly."""
    match value:
        case str():
            return check_text(name, value, limit) if value else value
        case bool() | None:
            return value
        case int() if value in INTEGER:
            return value
        case float() if isfinite(value):
            return value
        case int() | float():
            raise InvalidInputError(f"{name} must be a finite number within 64 bits")
    raise InvalidInputError(f"{name} must be a string, number, boolean or None, not {type(value).__name__}")


def check_role(role: Role) -> Role:
    """Return *role* if it is one."""
    if role not in get_args(Role):
        raise InvalidInputError(f"role must be one of {', '.join(get_args(Role))}, not {role!r}")
    return role


def check_new_preference(name: str, preferences: Sequence[Preference]) -> None:
    """Refuse a preference that would be one too many."""
    names = {preference.name for preference in preferences if preference.value is not None}
    if name not in names and len(names) >= LIMITS.preferences:
        raise InvalidInputError(f"the user has {len(names)} preferences; the limit is {LIMITS.preferences}")


def check_importance(value: int) -> int:
    """Return *value* if it is a whole number from 0 to 10."""
    if type(value) is not int or value not in IMPORTANCE:
        raise InvalidInputError(f"importance must be a whole number from 0 to 10, not {value!r}")
    return value


def check_time(name: str, value: datetime) -> datetime:
    """Return *value* in UTC, if it says which time zone it is in."""
    if not isinstance(value, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInputError(f"{name} must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidInputError(f"{name} has no time zone; use datetime.now(timezone.utc)")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInputError(f"{name} is outside of the years 1 to 9999 in UTC") from error


def check_bool(name: str, value: bool) -> bool:
    """Return *value* if it is one: outboxes and databases take nothing that is merely true."""
    if type(value) is not bool:
        raise InvalidInputError(f"{name} must be True or False, not {value!r}")
    return value


def check_version(name: str, value: int) -> int:
    """Return *value* if it is a whole number from 0."""
    if type(value) is not int or value < 0:
        raise InvalidInputError(f"{name} must be a version, a whole number from 0, not {value!r}")
    return value


def check_tokens(name: str, value: int) -> int:
    """Return *value* if it is a whole number from 0."""
    if type(value) is not int or value < 0:
        raise InvalidInputError(f"{name} must be a whole number of tokens from 0, such as 500, not {value!r}")
    return value


def check_seconds(name: str, value: float) -> float:
    """Return *value* if it is a number; one below 0, as of a deadline that has passed, means 0."""
    if type(value) not in (int, float) or value != value:
        raise InvalidInputError(f"{name} must be a number of seconds, not {value!r}")
    return max(0.0, value)


def check_metadata(metadata: Mapping[str, Scalar] | None) -> dict[str, Scalar] | None:
    """Return a copy, if it is flat and within its limit encoded."""
    if not metadata:
        return None
    if not isinstance(metadata, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may be untyped
        raise InvalidInputError(f"metadata must be a mapping, not {type(metadata).__name__}")
    checked = {
        check_text("a metadata key", key, LIMITS.metadata): check_scalar(f"metadata[{key!r}]", value, LIMITS.metadata)
        for key, value in metadata.items()
    }
    size = len(msgspec.json.encode(checked))
    if size > LIMITS.metadata:
        raise InvalidInputError(f"metadata is {size} bytes of JSON; the limit is {LIMITS.metadata}")
    return checked
