"""An origin in process memory: for tests and prototypes. It does what Postgres does, on top of `apply` and `bound`."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import TYPE_CHECKING, assert_never

import msgspec
from msgspec.structs import replace

from edgememory.apply import apply, bound, survives
from edgememory.changes import (
    Change,
    FactForgotten,
    FactRemembered,
    FactsUsed,
    MessageAdded,
    NameSet,
    PreferenceSet,
    SessionEnded,
    SummaryAdded,
)
from edgememory.errors import InvalidInputError
from edgememory.limits import (
    LIMITS,
    check_importance,
    check_metadata,
    check_role,
    check_scalar,
    check_text,
    check_time,
)
from edgememory.models import Awaiting, Committed, Entry, Message, Page, Refused, Snapshot, UserKey
from edgememory.recall.items import items_of, suits
from edgememory.recall.lexical import Index
from edgememory.recall.query import Candidates, Query
from edgememory.recall.words import term
from edgememory.store import OriginStore
from edgememory.stores.memory_extractions import MemoryExtractions
from edgememory.stores.paging import check_page, is_id, page

_EPOCH_BITS = 32
_START_OF_2020 = 1_577_836_800
_FACT_KEY_BYTES = 512
_SEARCHED = 8192
"""Characters of a text, as in `sql/0005_search.sql`."""
_CHANGE = msgspec.json.Decoder[Change](Change)


class InMemoryOrigin:
    """Everything that was committed, until the process ends. asyncio and trio; no method waits."""

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        """*now* is the origin's clock, in seconds since 1970."""
        self._now = now
        self._epoch = 0
        self._states: dict[UserKey, Snapshot] = {}
        self._extractions = MemoryExtractions(now)

    async def get(self, user: UserKey, *, at_least: int = 0) -> Entry:
        return self._entry(self.state(user))

    async def commit(self, user: UserKey, changes: Sequence[Change]) -> Committed:
        state = self.state(user)
        dropped = [change.id for change in changes if not survives(change, state)]
        checked = [(change, _refusal(change)) for change in changes if survives(change, state)]
        # Through its JSON, as to every other origin: what the caller changes in it later stays the caller's.
        good = [_CHANGE.decode(msgspec.json.encode(change)) for change, reason in checked if reason is None]
        refused = [Refused(change.id, reason) for change, reason in checked if reason is not None]
        state = self._states[user] = replace(apply(state, good), version=state.version + 1)
        for change in good:
            if isinstance(change, SessionEnded):
                self._extractions.add(user, change)
        return Committed(entry=self._entry(state), dropped=tuple(dropped), refused=tuple(refused))

    async def delete(self, user: UserKey) -> Entry:
        version = self.state(user).version + 1
        tombstone = Snapshot(version=version, exists=False, erased_at=version, erased_time=round(self._now(), 6))
        self._states[user] = tombstone
        self._extractions.forget(user)
        return self._entry(tombstone)

    async def get_messages(
        self, user: UserKey, *, session_id: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Message]:
        check_page(session_id, cursor, limit)
        wanted = [
            message
            for message in reversed(self.state(user).messages)
            if (session_id is None or message.session_id == session_id) and (cursor is None or message.id < cursor)
        ]
        return page([_copy(message) for message in wanted[: limit + 1]], limit)

    async def search(self, user: UserKey, query: Query, *, limit: int) -> Candidates:
        """Return everything that may be found: ranking is quick, and nothing has to travel."""
        state, index = self.state(user), Index(query.language)
        metadata = {message.id: message.metadata for message in state.messages}
        # By what replaced a fact, and not by when: an id need not tell its time.
        shown = state if query.filters.former else replace(state, former=())
        allowed = (item for item in items_of(shown) if suits(item, query.filters, metadata.get(item.id)))
        items = [replace(item, text=item.text[:_SEARCHED]) for item in allowed]
        for item in items:
            index.add(item.id, item.text)
        terms = [{term(form, query.language) for form in forms} for forms in query.terms]
        sizes = [len(item.text.encode()) for item in items]
        return Candidates(
            version=state.version,
            items=tuple(items),
            texts=len(items),
            octets=sum(sizes) / len(sizes) if sizes else 0.0,
            frequencies=tuple(index.frequency(forms) for forms in terms),
        )

    async def claim_extractions(self, namespace: str, *, lease: float, limit: int) -> Sequence[Awaiting]:
        return self._extractions.claim(namespace, lease=lease, limit=limit)

    async def finish_extraction(self, awaiting: Awaiting, changes: Sequence[Change]) -> Committed | None:
        return await self.commit(awaiting.user, changes) if self._extractions.finish(awaiting) else None

    async def postpone_extraction(
        self, awaiting: Awaiting, *, seconds: float, error: str, gives_up: bool = False
    ) -> None:
        self._extractions.postpone(awaiting, seconds=seconds, error=error, gives_up=gives_up)

    async def check_embedder(self, model: str, dimensions: int) -> None:
        """Any will do: there are no vectors here, and texts are found by their words."""

    async def warm(self) -> None:
        """There is no connection to open."""

    async def aclose(self) -> None:
        """Nothing is released: who opens it again finds what was committed."""

    def backup(self) -> Mapping[UserKey, Snapshot]:
        """Return what `restored` can go back to."""
        return dict(self._states)

    def restored(self, backup: Mapping[UserKey, Snapshot] | None = None) -> int:
        """Go back to *backup*, raise the epoch as Postgres' `edgememory.restored()` does, and return it."""
        if backup is not None:
            self._states = dict(backup)
        self._epoch = max(self._epoch + 1, int(self._now() - _START_OF_2020) // 3600)
        return self._epoch

    def state(self, user: UserKey) -> Snapshot:
        """Return the user's full state, unbounded."""
        least = self._epoch << _EPOCH_BITS
        state = self._states.get(user, Snapshot(version=least, exists=False))
        return state if state.version >= least else replace(state, version=least)

    def _entry(self, state: Snapshot) -> Entry:
        return Entry(snapshot=bound(state), synced_at=round(self._now(), 6))


def _copy(message: Message) -> Message:
    return message if message.metadata is None else replace(message, metadata=dict(message.metadata))


def _refusal(change: Change) -> str | None:
    """Say why no origin takes *change*: what the checks in `stores/postgres/sql` say."""
    if not is_id(change.id):
        return "id must be a UUID in its canonical form"
    try:
        _check(change)
    except (InvalidInputError, OverflowError) as error:
        return str(error)
    return None


def _check(change: Change) -> None:
    match change:
        case MessageAdded():
            check_text("session_id", change.session_id, LIMITS.session_id)
            check_role(change.role)
            check_text("text", change.text, LIMITS.message)
            check_time("at", change.at).astimezone(UTC)  # overflows where the year in UTC is none
            if change.agent_id is not None:
                check_text("agent_id", change.agent_id, LIMITS.agent_id)
            check_metadata(change.metadata)
        case SummaryAdded():
            check_text("session_id", change.session_id, LIMITS.session_id)
            check_text("text", change.text, LIMITS.summary)
        case SessionEnded():
            check_text("session_id", change.session_id, LIMITS.session_id)
        case NameSet():
            if change.name is not None:
                check_text("name", change.name, LIMITS.name)
        case PreferenceSet():
            check_text("name", change.name, LIMITS.preference_name)
            check_scalar("value", change.value, LIMITS.preference_value)
        case FactRemembered():
            check_text("key", change.key, _FACT_KEY_BYTES)
            if change.replaces is not None:
                check_text("replaces", change.replaces, _FACT_KEY_BYTES)
            check_text("text", change.text, LIMITS.fact)
            check_importance(change.importance)
        case FactForgotten():
            check_text("key", change.key, _FACT_KEY_BYTES)
        case FactsUsed():
            for key in change.keys:
                check_text("key", key, _FACT_KEY_BYTES)
        case _ as never:
            assert_never(never)


if TYPE_CHECKING:
    _: type[OriginStore] = InMemoryOrigin
