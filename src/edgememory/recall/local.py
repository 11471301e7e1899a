"""What a session can find without asking anybody: its snapshot, what it has said, what deep searches have brought."""

from collections.abc import Container, Iterable, Mapping

from msgspec.structs import replace

from edgememory.apply import message_of, shortened, survives
from edgememory.changes import Change, FactForgotten, MessageAdded
from edgememory.keys import id_time
from edgememory.models import Fact, Forgotten, Snapshot
from edgememory.recall.items import items_of, message_item, suits
from edgememory.recall.language import Language
from edgememory.recall.lexical import Index
from edgememory.recall.query import ALL, Candidates, Filters, Item, Match
from edgememory.recall.rank import asked, lent, matches, weights_of


class LocalRecall:
    """An index that follows its session. No I/O. The first search reads all of the snapshot, later ones what is new.

    Messages stay, although a snapshot shows only the last ten: a long call must not push out what earlier ones said.
    """

    def __init__(self, language: Language) -> None:
        self._language: Language = language
        self._index = Index(language)
        self._items: dict[str, Item] = {}
        self._brought: dict[str, Item] = {}
        self._said: set[str] = set()
        self._previous: dict[str, str] = {}
        self._following: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._facts: dict[str, Fact | Forgotten] = {}
        self._seen: Snapshot | None = None

    def bring(self, item: Item) -> None:
        """Keep something that a deep search has found, for this answer and those after it."""
        plain = replace(item, similarity=None)  # that was to one query
        self._brought.setdefault(item.id, plain)
        self._add(plain)

    def search(
        self,
        text: str,
        snapshot: Snapshot,
        changes: Mapping[str, Change],
        *,
        limit: int,
        filters: Filters = ALL,
        found: Candidates | None = None,
        near: Mapping[str, float] | None = None,
    ) -> list[Match]:
        """Return the best matches for *text*. *changes* are those that the snapshot shows, perhaps only in part.

        *found* is what a deep search of the same text has found: it knows how rare its words are among all texts.
        *near* are the texts of the snapshot that mean nearly the same.
        """
        self._follow(snapshot, changes)
        wanted = asked(text, self._language)
        # The origin may not have heard yet what was said just now.
        weights = self._index.weights(wanted) | ({} if found is None else weights_of(found, wanted))
        scores = self._index.scores(weights, mean_length=self._index.mean_length)
        total = lent(scores, self._previous, self._following)
        told = {} if found is None else {item.id: item.similarity for item in found.items}
        alike = dict(near or {}) | {id: similarity for id, similarity in told.items() if similarity is not None}
        # Only the origin keeps metadata, and it has compared that of what it found.
        without_metadata = replace(filters, metadata=None)
        suitable = {
            id: replace(item, similarity=alike.get(id)) if id in alike else item
            for id in total.keys() | alike.keys()
            if (item := self._standing(id, former=filters.former)) is not None
            and suits(item, without_metadata if id in told else filters)
        }
        return matches(suitable, total, self._index.holds, wanted, limit)

    def key_of(self, match: Match) -> str | None:
        """Return the key of a fact that was found."""
        return self._items[match.id].key

    def _standing(self, id: str, *, former: bool) -> Item | None:
        """Return an item if the snapshot lets it stand: a deep search may bring a fact as it was before a change."""
        item = self._items.get(id)
        if item is None or item.key is None or (fact := self._facts.get(item.key)) is None:
            return item
        is_over = fact.replaced > item.id
        if fact.id > item.id or (is_over and not former):
            return None
        return replace(item, valid_until=id_time(fact.replaced)) if is_over else item

    def _follow(self, snapshot: Snapshot, changes: Mapping[str, Change]) -> None:
        if snapshot is self._seen:
            return
        shown = {fact.id for fact in snapshot.facts} | {summary.id for summary in snapshot.summaries}
        erased = self._seen is not None and snapshot.erased_at > self._seen.erased_at
        if erased:
            self._brought.clear()
        self._drop(id for id, item in self._items.items() if erased or self._is_gone(item, shown, changes))
        for change in changes.values():
            if isinstance(change, MessageAdded) and change.id not in self._items and survives(change, snapshot):
                self._said.add(change.id)
                self._add(message_item(shortened(message_of(change)), self._last.get(change.session_id)))
        for item in items_of(snapshot, known=self._items):
            self._add(item)
        # A snapshot says what was forgotten only until it was told of enough others.
        told = (Forgotten(key=it.key, id=it.id) for it in changes.values() if isinstance(it, FactForgotten))
        registers: tuple[Fact | Forgotten, ...] = (*told, *snapshot.forgotten, *snapshot.facts)
        self._facts = {fact.key: fact for fact in registers}
        self._seen = snapshot

    def _is_gone(self, item: Item, shown: Container[str], changes: Container[str]) -> bool:
        """Say whether a fact was forgotten, or a message refused."""
        if item.kind == "message":
            return item.id in self._said and item.id not in changes
        return item.id not in shown and item.id not in self._brought

    def _add(self, item: Item) -> None:
        if item.id in self._items:
            return
        self._items[item.id] = item
        self._index.add(item.id, item.text)
        if item.previous is not None:
            self._previous[item.id] = item.previous
            self._following[item.previous] = item.id
        if item.session_id is not None and item.kind == "message":
            self._last[item.session_id] = max(item.id, self._last.get(item.session_id, ""))

    def _drop(self, ids: Iterable[str]) -> None:
        gone = tuple(ids)
        for id in gone:
            del self._items[id]
        if gone:
            self._index.discard(gone)
