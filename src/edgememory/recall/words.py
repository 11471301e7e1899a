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
_CUT = re.compile(
    f"[{_HAN}]+|[{_HIRAGANA}]+|[{_KATAKANA}]+|(?:(?![{_HAN}{_HIRAGANA}{_KATAKANA}])[^\\W_])+",
)
_UNSPACED = re.compile(f"[{_HAN}{_HIRAGANA}{_KATAKANA}]")
_IS_HAN = re.compile(f"[{_HAN}]")
_ASCII_CUT = re.compile("[a-z0-9]+")
_LONGEST_WORD = 64
"""Characters. Longer than that is a key or a blob, of which nobody remembers the end."""
_STEMS_KEPT = 65_536


def words(text: str) -> list[str]:
    """Return the words of *text* in lower case, in order.

    Japanese and Chinese are written without spaces: there each pair of neighbours of one script is a word, and each
    Chinese character.
    """
    folded = unicodedata.normalize("NFKC", text).lower()
    if folded.isascii():
        return [word[:_LONGEST_WORD] for word in _ASCII_CUT.findall(folded)]
    found: list[str] = []
    for word in _CUT.findall(folded):
        if _UNSPACED.match(word) is None:
            found.append(word[:_LONGEST_WORD])
            continue
        found += [word[start : start + 2] for start in range(len(word) - 1)]
        if _IS_HAN.match(word) is not None:
            found += word
    return found


def terms(text: str, language: Language) -> list[str]:
    """Return the stems of the words of *text*, in order, without stop words."""
    return [stem for word in words(text) if (stem := term(word, language))]


@lru_cache(maxsize=_STEMS_KEPT)
def term(word: str, language: Language) -> str:
    """Return what *word* (of `words`) is found by; empty for a stop word."""
    if word in _stop_words(language):
        return ""
    if language == "english":
        word = IRREGULAR.get(word, word)
    return _stem_of(language)(word)


@cache
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
