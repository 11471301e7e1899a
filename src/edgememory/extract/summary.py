"""A summary without a model: the user's own sentences that say most."""

import re
from collections.abc import Iterable
from itertools import islice, pairwise

from edgememory.extract.cut import SUSPECT
from edgememory.extract.spoken import said_by_user, sentences
from edgememory.models import Message

MOST_CHARACTERS = 300
_LONGEST_SENTENCE = 140
_MOST_SENTENCES = 1000
_MOST_WORDS = 12
"""A sentence with more says no more, but is long."""
_OPENING = "The user said: "
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
"""Japanese and Chinese characters: there are no blanks to find words by."""
_EMPTY = re.compile(
    "hello|hallo|bonjour|hola|ciao|thanks|thank|please|yeah|okay|well|good|morning|evening|afternoon|great|fine|sure|bye"
    "|goodbye|today|that|this|what|with|have|would|could|should|just|really|very|much|there|your|about|like|know|want"
    "|from|they|them|then|when|will|been|were|does|guten|danke|bitte|merci|gracias|help|nice|lovely|perfect|right"
)


def summary(messages: Iterable[Message]) -> str | None:
    """Return what the user talked about, some 300 characters at most; `None` if it was nothing of substance.

    Taken are the sentences with most words that no better one has, in the order in which they were said.
    """
    said = islice((sentence for _, text in said_by_user(messages) for sentence in sentences(text)), _MOST_SENTENCES)
    weighed = [
        (place, sentence, _words(sentence)) for place, sentence in enumerate(said) if not SUSPECT.search(sentence)
    ]
    weighed.sort(key=lambda each: (-min(len(each[2]), _MOST_WORDS), each[0]))
    room = MOST_CHARACTERS - len(_OPENING)
    taken: list[tuple[int, str]] = []
    known: set[str] = set()
    for place, sentence, words in weighed:
        shown = _shortened(sentence)
        if len(words) > 1 and len(shown) < room and len(words - known) * 2 > len(words):
            known |= words
            room -= len(shown) + 1
            taken.append((place, shown))
    return _OPENING + " ".join(shown for _, shown in sorted(taken)) if taken else None


def _words(sentence: str) -> set[str]:
    words = {word.casefold() for word in _WORD.findall(sentence) if len(word) > 3 or word.isdecimal()}
    pairs = {one + other for one, other in pairwise(_UNSPACED.findall(sentence))}
    return {word for word in words if not _EMPTY.fullmatch(word) and not _UNSPACED.search(word)} | pairs


def _shortened(sentence: str) -> str:
    if len(sentence) <= _LONGEST_SENTENCE:
        return sentence
    return sentence[:_LONGEST_SENTENCE].rsplit(" ", 1)[0] + "…"
