"""A user's memory as texts that can be found."""

from collections.abc import Container, Iterator, Mapping

from edgememory.keys import id_time
from edgememory.models import Fact, Message, Scalar, Snapshot, Summary
from edgememory.recall.query import Filters, Item


def items_of(snapshot: Snapshot, *, known: Container[str] = ()) -> Iterator[Item]:
    """Yield every fact, summary and message, the oldest messages first, but those whose ids are *known*."""
    for fact in (*snapshot.facts, *snapshot.former):
        if fact.id not in known:
            yield _fact(fact)
    for summary in snapshot.summaries:
        if summary.id not in known:
            yield _summary(summary)
    last: dict[str, str] = {}
    for message in snapshot.messages:
        if message.id not in known:
            yield message_item(message, last.get(message.session_id))
        last[message.session_id] = message.id


def _fact(fact: Fact) -> Item:
    return Item(
        kind="fact",
        id=fact.id,
        key=fact.key,
        text=fact.text,
        at=id_time(fact.id),
        valid_until=id_time(fact.replaced) if fact.replaced else None,
    )


def _summary(summary: Summary) -> Item:
    return Item(kind="summary", id=summary.id, text=summary.text, at=id_time(summary.id), session_id=summary.session_id)


def message_item(message: Message, previous: str | None) -> Item:
    """Return a message as an item; *previous* is the id of the one before it in the same conversation."""
    return Item(
        kind="message",
        id=message.id,
        text=message.text,
        at=message.at,
        session_id=message.session_id,
        role=message.role,
        agent_id=message.agent_id,
        previous=previous,
    )


def suits(item: Item, filters: Filters, metadata: Mapping[str, Scalar] | None = None) -> bool:
    """Say whether *filters* let the item be found. *metadata* is the message's, where it is known."""
    if item.kind not in filters.kinds or (item.valid_until is not None and not filters.former):
        return False
    if item.session_id is not None and item.session_id == filters.except_session_id:
        return False
    for wanted, has in (
        (filters.session_id, item.session_id),
        (filters.agent_id, item.agent_id),
        (filters.role, item.role),
    ):
        if wanted is not None and has != wanted:
            return False
    if filters.after is not None and (item.at is None or item.at < filters.after):
        return False
    if filters.before is not None and (item.at is None or item.at >= filters.before):
        return False
    return all(_is(metadata, name, value) for name, value in (filters.metadata or {}).items())


def _is(metadata: Mapping[str, Scalar] | None, name: str, value: Scalar) -> bool:
    """Compare as JSON does, where `true` is not 1."""
    if metadata is None or name not in metadata:
        return False
    return metadata[name] == value and isinstance(metadata[name], bool) == isinstance(value, bool)
