"""BM25 over texts that are few enough to be held."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from edgememory.recall.language import Language
from edgememory.recall.words import terms

K1 = 1.2
B = 0.4
"""Less than the usual .75: turns of a talk are all short, and the shortest say thanks."""


class Index:
    """The terms of some texts, by id. Adding a text costs its reading; a query, the texts that hold its terms."""

    def __init__(self, language: Language) -> None:
        self._language: Language = language
        self._postings: dict[str, dict[str, int]] = {}
        self._lengths: dict[str, int] = {}
        self._total = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __contains__(self, id: str) -> bool:
        return id in self._lengths

    @property
    def mean_length(self) -> float:
        """In terms."""
        return self._total / len(self._lengths) if self._lengths else 0.0

    def add(self, id: str, text: str) -> None:
        """Take in a text. One of this id must not be there."""
        counted = Counter(terms(text, self._language))
        length = counted.total()
        self._lengths[id] = length
        self._total += length
        for term, times in counted.items():
            self._postings.setdefault(term, {})[id] = times

    def discard(self, ids: Iterable[str]) -> None:
        """Forget texts. Costs a look at every term: rare, and in one go."""
        gone = [id for id in ids if id in self._lengths]
        self._total -= sum(self._lengths.pop(id) for id in gone)
        for term, posting in tuple(self._postings.items()):
            for id in gone:
                posting.pop(id, None)
            if not posting:
                del self._postings[term]

    def weights(self, wanted: Iterable[str]) -> dict[str, float]:
        """Return how much each term says, in these texts: the rarer, the more."""
        texts = len(self._lengths)
        return {term: weight(texts, len(self._postings[term])) for term in wanted if term in self._postings}

    def scores(self, weights: Mapping[str, float], *, mean_length: float) -> dict[str, float]:
        """Return the BM25 score of every text that holds a term, by id."""
        found: dict[str, float] = {}
        for term, worth in weights.items():
            for id, times in self._postings.get(term, _NONE).items():
                found[id] = found.get(id, 0.0) + worth * saturated(times, self._lengths[id] / mean_length)
        return found

    def frequency(self, terms: Iterable[str]) -> int:
        """Return how many texts hold any of *terms*."""
        return len(set[str]().union(*(self._postings.get(term, _NONE) for term in terms)))

    def holds(self, id: str, term: str) -> bool:
        """Say whether the text holds the term."""
        return id in self._postings.get(term, _NONE)


_NONE: Mapping[str, int] = {}


def weight(texts: int, frequency: int) -> float:
    """Return the inverse document frequency of a term that stands in *frequency* of *texts* texts; never negative."""
    return math.log1p((texts - frequency + 0.5) / (frequency + 0.5))


def saturated(times: int, length: float) -> float:
    """Return what a term counts that stands *times* in a text, by the text's *length* as a share of the mean one."""
    return times * (K1 + 1) / (times + K1 * (1 - B + B * length))
