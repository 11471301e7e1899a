"""Texts as terms: what two texts must share to find each other. `sql/0005_search.sql` cuts words the same way."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.resources import files
from typing import cast

import Stemmer

from edgememory.recall.irregular import IRREGULAR
from edgememory.recall.language import Language

_HAN = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HIRAGANA = "\u3041-\u309f"
_KATAKANA = "\u30a1-\u30ff\u31f0-\u31ff"
_JOINERS = "\u200c\u200d"
"""Invisible, and inside words of Persian and of India."""
_CUT = re.compile(
    f"[{_HAN}]+|[{_HIRAGANA}]+|[{_KATAKANA}]+"
    # An accent that stands alone, or what joined two emoji, begins no word.
    f"|[^ \u0300-\u036f{_JOINERS}{_HAN}{_HIRAGANA}{_KATAKANA}][^ {_HAN}{_HIRAGANA}{_KATAKANA}]*",
)
_UNSPACED = re.compile(f"[{_HAN}{_HIRAGANA}{_KATAKANA}]")
_IS_HAN = re.compile(f"[{_HAN}]")
_ASCII = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
"""What each ASCII character is read as. To translate and split is four times as fast as a regular expression."""
_VARIANTS = frozenset((*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)))
"""Marks that say how the character before them is drawn, most often an emoji, and belong to no word."""
_LONGEST_WORD = 64
"""Characters. Longer than that is a key or a blob, of which nobody remembers the end."""
_STEMS_KEPT = 65_536


class _ReadAs(dict[int, int]):
    """What each character is read as, found when it is first met: itself, if it is part of a word, or a space."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        is_mark = unicodedata.category(character) in ("Mn", "Mc") and code not in _VARIANTS
        read_as = self[code] = code if character.isalnum() or is_mark or character in _JOINERS else ord(" ")
        return read_as


_READ_AS = _ReadAs()


def words(text: str) -> list[str]:
    """Return the words of *text* in lower case, in order.

    Japanese and Chinese are written without spaces: there each pair of neighbours of one script is a word, and each
    Chinese character.
    """
    if text.isascii():
        plain = text.translate(_ASCII).split()
        return plain if max(map(len, plain), default=0) <= _LONGEST_WORD else [word[:_LONGEST_WORD] for word in plain]
    lower = unicodedata.normalize("NFKC", text).lower()
    # Of "İ" the dot is left as a mark, and a last "Σ" has another form than one within a word.
    folded = lower.replace("i\u0307", "i").replace("\u03c2", "\u03c3").translate(_READ_AS)
    found: list[str] = []
    for word in _CUT.findall(folded):
        if _UNSPACED.match(word) is None:
            found.append(word[:_LONGEST_WORD])
            continue
        found += [word[start : start + 2] for start in range(len(word) - 1)]
        if _IS_HAN.match(word) is not None:
            found += word
    return found


def stems(text: str, language: Language) -> list[str]:
    """Return what each word of *text* is found by, in order: empty for a stop word."""
    known = _stems(language)
    if len(known) > _STEMS_KEPT:
        known.clear()
    return list(map(known.__getitem__, words(text)))


def terms(text: str, language: Language) -> list[str]:
    """Return the stems of the words of *text*, in order, without stop words."""
    return list(filter(None, stems(text, language)))


def term(word: str, language: Language) -> str:
    """Return what *word* (of `words`) is found by; empty for a stop word."""
    return _stems(language)[word]


class _Stems(dict[str, str]):
    """Each word's stem, found when it is first asked for: thousands of words are looked up for one search."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self._language: Language = language

    def __missing__(self, word: str) -> str:
        if word in _stop_words(self._language):
            stem = ""
        elif self._language == "english":
            stem = _stem_of("english")(IRREGULAR.get(word, word))
        else:
            stem = _stem_of(self._language)(word)
        self[word] = stem
        return stem


@cache
def _stems(language: Language) -> _Stems:
    return _Stems(language)


@lru_cache(_STEMS_KEPT)
def forms(word: str, language: Language) -> Sequence[str]:
    """Return *word* with the words that no stemmer knows for its forms: `went` for `go`."""
    if language != "english":
        return (word,)
    base = IRREGULAR.get(word, word)
    others = [form for form, of in IRREGULAR.items() if of == base]
    return tuple(dict.fromkeys((word, base, *others)))


@cache
def _stem_of(language: Language) -> Callable[[str], str]:
    if language == "simple":
        return str
    return cast(Callable[[str], str], Stemmer.Stemmer(language).stemWord)


@cache
def _stop_words(language: Language) -> frozenset[str]:
    path = files("edgememory.recall") / "stop_words" / f"{language}.txt"
    return frozenset(path.read_text("utf-8").split()) if path.is_file() else frozenset()
