"""Talk without sense: invented words, as frequent as in any language those are that mean something by themselves."""

import random
from collections.abc import Iterator
from itertools import accumulate

_SYLLABLES = [a + b for a in "bdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "el", "or")]
_WORDS = 20_000


class Chatter:
    """Texts as long as two spoken sentences, the same from each seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        spelling = random.Random(0)
        self._words = ["".join(spelling.choices(_SYLLABLES, k=spelling.randint(2, 4))) for _ in range(_WORDS)]
        # Zipf's law without its first fifty, which are stop words: the first left stands in one text of ten, and a
        # question's words in some 1,200 of 10,000 texts, as those of LongMemEval do in its own.
        self._shares = list(accumulate(1 / (place + 50) for place in range(1, _WORDS + 1)))

    def texts(self, words: int = 35) -> Iterator[str]:
        while True:
            yield " ".join(self._random.choices(self._words, cum_weights=self._shares, k=words))

    def question(self) -> str:
        """Return a few of the words, frequent ones among them."""
        return next(self.texts(self._random.randint(3, 8)))
