"""From scores to matches: what stands beside a hit, words and meaning in one order, and why."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from itertools import islice

from edgememory.recall.embedder import Embedder
from edgememory.recall.language import Language
from edgememory.recall.lexical import saturated, weight
from edgememory.recall.query import ALL, Candidates, Filters, Item, Match, Query, Why
from edgememory.recall.words import forms, stems, term, words

TO_NEXT = 0.4
TO_PREVIOUS = 0.2
"""What a message lends of its score to those beside it in the same conversation, and half of that one further: an
answer seldom repeats the words of its question. On LoCoMo's 1,535 questions .3 and .15, to one neighbour only, took
evidence recall at 10 from .617 to .664; of two neighbours each the gain was larger on talk of the same kind."""
OF_A_QUESTION = 0.5
"""What a question counts, beside a statement: it holds the words of another and seldom the answer. To its neighbours it
lends all the same, the answer among them. On 129 questions about talk of LoCoMo's kind, evidence recall at 10 went from
.487 to .496, at 5 from .364 to .401; on two other sets of some 30 at 5 from .286 to .321, and not at all."""
OF_THE_SAME_TALK = 0.9
"""What each further match of one conversation has left of its score, beside the one before it: the answer may stand in
another. On 129 questions about talk of LoCoMo's kind, the evidence's conversation was among the first 10 matches in
.837 and not .802, the evidence itself in .500 and not .496; among 20 in .632 and not .662."""
_ASKING = "?\uff1f"
_SENTENCE = re.compile("[^.!?\n\u3002\uff01\uff1f]+[.!?\n\u3002\uff01\uff1f]?")
Holds = Callable[[str, str], bool]
FUSION = 60.0
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
LONGEST_QUERY = 64
"""Different words of a query that are looked for: the first ones. A caller's whole turn has fewer."""
LONGEST_TEXT = 16 * LONGEST_QUERY
"""Characters of a query that are read."""


def asked(text: str, language: Language) -> dict[str, str]:
    """Return the terms of a query, each with the first word it comes from, in order."""
    found: dict[str, str] = {}
    for word in words(text[:LONGEST_TEXT]):
        if len(found) == LONGEST_QUERY:
            break
        if stem := term(word, language):
            found.setdefault(stem, word)
    return found


def query_for(
    text: str,
    language: Language,
    filters: Filters = ALL,
    *,
    vector: tuple[float, ...] | None = None,
    embedder: Embedder | None = None,
) -> Query:
    """Return what an origin is asked for *text*, and for what it means."""
    return Query(
        terms=tuple(tuple(forms(word, language)) for word in asked(text, language).values()),
        language=language,
        filters=filters,
        vector=vector,
        model=None if embedder is None else embedder.model,
    )


def lent(scores: Mapping[str, float], previous: Mapping[str, str], following: Mapping[str, str]) -> dict[str, float]:
    """Add to each score what its neighbours lend, by the ids of what stands before and after each message."""
    total = dict(scores)
    for share, beside in ((TO_NEXT, following), (TO_PREVIOUS, previous)):
        for id, score in scores.items():
            near = beside.get(id)
            if near is None:
                continue
            total[near] = total.get(near, 0.0) + share * score
            if (far := beside.get(near)) is not None:
                total[far] = total.get(far, 0.0) + share / 2 * score
    return total


def best_first(scores: Mapping[str, float]) -> list[str]:
    """Return ids by falling score; among equals, what was said last."""
    return sorted(scores, key=lambda id: (scores[id], id), reverse=True)


def spread(scores: Mapping[str, float], items: Mapping[str, Item]) -> dict[str, float]:
    """Return what each is worth, best first, where a conversation counts less with each match that it has already."""
    order = best_first(scores)
    place = {id: number for number, id in enumerate(order)}
    talks: dict[str, list[str]] = {}
    for id in reversed(order):
        talks.setdefault(items[id].session_id or id, []).append(id)
    heads = [(-scores[ids[-1]], place[ids[-1]], 1.0, ids) for ids in talks.values()]
    heapify(heads)
    found: dict[str, float] = {}
    while heads:
        worth, _, left, ids = heads[0]
        found[ids.pop()] = -worth
        if ids:
            left *= OF_THE_SAME_TALK
            heapreplace(heads, (-scores[ids[-1]] * left, place[ids[-1]], left, ids))
        else:
            heappop(heads)
    return found


def fused(*rankings: Sequence[str]) -> dict[str, float]:
    """Return reciprocal rank fusion's scores: whoever stands high in several orders comes first."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for place, id in enumerate(ranking, start=1):
            scores[id] = scores.get(id, 0.0) + 1.0 / (FUSION + place)
    return scores


def matches(
    items: Mapping[str, Item], scores: Mapping[str, float], holds: Holds, query: Mapping[str, str], limit: int
) -> list[Match]:
    """Return the best of *items*, found by words, by meaning, or by both.

    *scores* are of their words: they hold what neighbours lend, and perhaps others than *items*. *holds* says whether
    the text of an id holds a term.
    """
    known = {id: score * _telling(items[id].text) for id, score in scores.items() if id in items}
    ranked = spread(known, items)
    if alike := {item.id: item.similarity for item in items.values() if item.similarity is not None}:
        both = fused([*ranked], best_first(alike))
        ranked = {id: both[id] for id in best_first(both)}
    return [_match(items[id], score, holds, query) for id, score in islice(ranked.items(), limit)]


def _telling(text: str) -> float:
    """Return what a text counts, by the share of it that asks."""
    if not any(map(text.__contains__, _ASKING)):
        return 1.0
    asks = sum(len(sentence) for sentence in _SENTENCE.findall(text) if sentence[-1] in _ASKING)
    return 1.0 - (1.0 - OF_A_QUESTION) * asks / len(text)


def _match(item: Item, score: float, holds: Holds, query: Mapping[str, str]) -> Match:
    found = tuple(word for stem, word in query.items() if holds(item.id, stem))
    return Match(
        kind=item.kind,
        id=item.id,
        text=item.text,
        at=item.at,
        score=score,
        why=Why(words=found, beside=not found and item.similarity is None, similarity=item.similarity),
        session_id=item.session_id,
        role=item.role,
        agent_id=item.agent_id,
        valid_until=item.valid_until,
    )


def weights_of(candidates: Candidates, wanted: Iterable[str]) -> dict[str, float]:
    """Return how much each term says among all of the user's texts, not only among those found."""
    return {
        stem: weight(max(candidates.texts, frequency), frequency)
        for stem, frequency in zip(wanted, candidates.frequencies, strict=True)
        if frequency
    }


class Ranking:
    """Ranks what an origin has found, once each text of it was read."""

    def __init__(self, candidates: Candidates, query: Query, text: str) -> None:
        self._candidates = candidates
        self._language: Language = query.language
        self._wanted = asked(text, query.language)
        self._octets = self._lengths = 0
        self._read: dict[str, tuple[int, dict[str, int]]] = {}

    def read(self, item: Item) -> None:
        """Count the terms of one of the candidates."""
        found = stems(item.text, self._language)
        length = len(found) - found.count("")
        self._octets += len(item.text.encode())
        self._lengths += length
        self._read[item.id] = (length, {stem: found.count(stem) for stem in self._wanted.keys() & set(found)})

    def matches(self, limit: int) -> list[Match]:
        """Return the best of what was read."""
        candidates, read = self._candidates, self._read
        weights = weights_of(candidates, self._wanted)
        # The origin counts bytes and no terms: of these texts both are known.
        mean_length = max(1.0, candidates.octets * self._lengths / self._octets) if self._octets else 1.0
        scores: dict[str, float] = {}
        for id, (length, held) in read.items():
            worths = (weights.get(stem, 0.0) * saturated(times, length / mean_length) for stem, times in held.items())
            if held:
                scores[id] = sum(worths)
        previous = {item.id: item.previous for item in candidates.items if item.previous is not None}
        following = {before: id for id, before in previous.items()}
        items = {item.id: item for item in candidates.items}
        total = lent(scores, previous, following)
        return matches(items, total, lambda id, stem: stem in read[id][1], self._wanted, limit)
