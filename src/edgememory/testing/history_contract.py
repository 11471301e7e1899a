"""What `OriginStore.get_messages` promises: part of `OriginContract`."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import cast

import pytest
from msgspec.structs import replace

from edgememory.errors import InvalidInputError
from edgememory.limits import LIMITS
from edgememory.models import Message, Page, UserKey
from edgememory.store import OriginStore
from edgememory.testing.talk import Talk

_talk = Talk()


class HistoryContract:
    """Subclass `OriginContract`, which has these tests too."""

    async def test_history_keeps_messages_whole(self, store: OriginStore, user: UserKey) -> None:
        text = "é" * LIMITS.message_in_snapshot
        committed = await store.commit(user, [_talk.says(text, metadata={"a": 1, "b": None})])
        (message,) = (await store.get_messages(user)).items
        assert message == replace(committed.entry.snapshot.messages[0], text=text, metadata={"a": 1, "b": None})

    async def test_what_a_caller_does_to_metadata_stays_with_the_caller(
        self, store: OriginStore, user: UserKey
    ) -> None:
        change = _talk.says("x", metadata={"a": 1})
        await store.commit(user, [change])
        assert change.metadata is not None
        change.metadata["a"] = 2
        for _ in range(2):
            (message,) = (await store.get_messages(user)).items
            assert message.metadata == {"a": 1}
            assert message.metadata is not None
            message.metadata["a"] = 3

    @pytest.mark.parametrize(("count", "pages"), [(0, [0]), (7, [7]), (10, [10]), (20, [10, 10]), (21, [10, 10, 1])])
    async def test_history_comes_in_pages(
        self, store: OriginStore, user: UserKey, count: int, pages: Sequence[int]
    ) -> None:
        changes = [_talk.says(str(place)) for place in range(count)]
        await store.commit(user, changes)
        found = [page async for page in _pages(store, user, limit=10)]
        assert [len(page.items) for page in found] == pages
        assert _texts(found) == [change.text for change in reversed(changes)]

    async def test_new_messages_do_not_disturb_who_is_paging(self, store: OriginStore, user: UserKey) -> None:
        changes = [_talk.says(str(place)) for place in range(25)]
        await store.commit(user, changes)
        found: list[Page[Message]] = []
        async for page in _pages(store, user, limit=10):
            found.append(page)
            await store.commit(user, [_talk.says("new")])
        assert _texts(found) == [change.text for change in reversed(changes)]

    async def test_history_of_one_session(self, store: OriginStore, user: UserKey) -> None:
        talks = [Talk(session_id) for session_id in ("s", "S", "s%", "s-1")]
        await store.commit(user, [talk.says(f"{talk.session_id} {place}") for place in range(5) for talk in talks])
        for talk in talks:
            found = [page async for page in _pages(store, user, session_id=talk.session_id, limit=2)]
            assert _texts(found) == [f"{talk.session_id} {place}" for place in (4, 3, 2, 1, 0)]

    async def test_nobody_reads_anothers_history(self, store: OriginStore, user: UserKey) -> None:
        await store.commit(user, [_talk.says("mine")])
        others = [UserKey(user.namespace, user.user_id + "x"), UserKey(user.namespace + "x", user.user_id)]
        for other in others:
            assert (await store.get_messages(other)).items == ()
            assert (await store.get_messages(other, session_id=_talk.session_id)).items == ()

    @pytest.mark.parametrize("limit", [0, -1, 1001, True, cast(int, 1.5)])
    async def test_a_bad_limit_is_refused(self, store: OriginStore, user: UserKey, limit: int) -> None:
        with pytest.raises(InvalidInputError, match="limit"):
            await store.get_messages(user, limit=limit)

    @pytest.mark.parametrize("cursor", ["", "1", "01890A5D-AC96-774B-BCCE-B302099A8057", "\0", "'"])
    async def test_a_bad_cursor_is_refused(self, store: OriginStore, user: UserKey, cursor: str) -> None:
        with pytest.raises(InvalidInputError, match="cursor"):
            await store.get_messages(user, cursor=cursor)

    @pytest.mark.parametrize("session_id", ["", "a\0b", "\ud800", "s" * (LIMITS.session_id + 1)])
    async def test_a_bad_session_id_is_refused(self, store: OriginStore, user: UserKey, session_id: str) -> None:
        with pytest.raises(InvalidInputError, match="session_id"):
            await store.get_messages(user, session_id=session_id)


async def _pages(
    store: OriginStore, user: UserKey, *, session_id: str | None = None, limit: int
) -> AsyncIterator[Page[Message]]:
    page = await store.get_messages(user, session_id=session_id, limit=limit)
    yield page
    while page.cursor is not None:
        page = await store.get_messages(user, session_id=session_id, cursor=page.cursor, limit=limit)
        yield page


def _texts(pages: Iterable[Page[Message]]) -> list[str]:
    return [message.text for page in pages for message in page.items]
