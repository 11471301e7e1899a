"""Pages of a history, newest first: the cursor is the id of the last message that was seen."""

from collections.abc import Sequence
from uuid import UUID

from edgememory.errors import InvalidInputError
from edgememory.limits import LIMITS, check_limit, check_text
from edgememory.models import Message, Page


def check_page(session_id: str | None, cursor: str | None, limit: int) -> None:
    """Refuse what no origin can answer, before any I/O."""
    if session_id is not None:
        check_text("session_id", session_id, LIMITS.session_id)
    if cursor is not None and not is_id(cursor):
        raise InvalidInputError("cursor must be one that an earlier page returned")
    check_limit(limit)


def page(found: Sequence[Message], limit: int) -> Page[Message]:
    """Return the first *limit* of the *found*, which are one more if there is a next page."""
    items = tuple(found[:limit])
    return Page(items=items, cursor=items[-1].id if len(found) > limit else None)


def is_id(text: str) -> bool:
    """Say whether *text* is a UUID in its canonical form: what orders as text in the order of ids."""
    try:
        return str(UUID(text)) == text
    except (ValueError, AttributeError):  # the latter where *text* is no text
        return False
