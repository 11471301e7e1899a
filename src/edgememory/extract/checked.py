"""What an extractor says is believed only as far as it is sane: it may be a model that was talked into something."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from edgememory.errors import InvalidInputError
from edgememory.extract.extractor import Conversation, Extracted, ExtractedFact, ExtractedPreference
from edgememory.keys import fact_key
from edgememory.limits import IMPORTANCE, LIMITS, check_scalar, check_text
from edgememory.models import Role, Scalar

MAX_FACTS = 32
"""New facts of one conversation: half of what a snapshot holds, so that no call can push out all that was known."""
MAX_PREFERENCES = 16
SPOKEN: Collection[Role] = ("user", "assistant")
"""Whose messages were said aloud. An agent's instructions and its tools' answers may speak of anybody."""

_FENCE = re.compile(r"</?\s*user_memory", re.IGNORECASE)
_WORD = re.compile(r"\w+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Scripts without spaces between words, and Korean, whose particles stick to names."""
_SENTENCE_ENDS = ("", ".", "!", "?")
_OPENS = " \t\n\"'([{*-\u201c\u2018"
_LONGEST_ABBREVIATION = 4
_ANY_SIZE = 2**63
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_NO_NAMES = frozenset(("user", *_WEEKDAYS, *_MONTHS))


def checked(extracted: Extracted, conversation: Conversation) -> Extracted:
    """Return what may be remembered of it. The rest is dropped without a word.

    Facts and preferences that break a limit are dropped, a summary is cut, and nothing may hold the fence of the
    block for prompts. A fact takes the place of a known one only, and a name must have been said by the user.
    """
    return Extracted(
        facts=tuple(islice(_facts(extracted.facts, conversation), MAX_FACTS)),
        preferences=tuple(islice(_preferences(extracted.preferences), MAX_PREFERENCES)),
        name=_name(extracted.name, conversation),
        summary=_summary(extracted.summary),
    )


def _facts(facts: Iterable[ExtractedFact], conversation: Conversation) -> Iterator[ExtractedFact]:
    known = {fact_key(fact.text) for fact in conversation.known.facts}
    heard = _heard(conversation) if conversation.language == "english" else None
    told = set(known)
    seen: set[tuple[str, str | None]] = set()
    for fact in facts:
        text = _sane(fact.text, LIMITS.fact)
        if text is None or (heard is not None and _names_a_stranger(text, heard)):
            continue
        key = fact_key(text)
        replaces = _replaced(fact, key, known)
        if (key, replaces) in seen or (key in told and replaces is None):
            continue
        told.add(key)
        seen.add((key, replaces))
        importance = min(max(fact.importance, IMPORTANCE[0]), IMPORTANCE[-1])
        yield ExtractedFact(text=text, importance=importance, replaces=replaces)


def _replaced(fact: ExtractedFact, key: str, known: Collection[str]) -> str | None:
    text = None if fact.replaces is None else _sane(fact.replaces, LIMITS.fact)
    return text if text is not None and fact_key(text) in known and fact_key(text) != key else None


def _names_a_stranger(text: str, heard: Collection[str]) -> bool:
    """Whether a proper name stands in *text* that nobody has said.

    Such a name is another user's, or made up. To remember it is worse than to miss a fact, of which the history still
    has every word. It costs facts in which a model spells out what was said ("NYC"); so weekdays and months pass, as
    which it has to tell "tomorrow", and so do abbreviations. A name at the start of a sentence is not seen.
    """
    for match in _WORD.finditer(text):
        word = match[0]
        if not word[0].isupper() or text[: match.start()].rstrip(_OPENS)[-1:] in _SENTENCE_ENDS:
            continue
        abbreviated = word.isupper() and len(word) <= _LONGEST_ABBREVIATION
        if not abbreviated and _folded(word) not in heard and _folded(word) not in _NO_NAMES:
            return True
    return False


def _heard(conversation: Conversation) -> Collection[str]:
    """Every word that was said, or known."""
    known = conversation.known
    texts = [message.text for message in conversation.messages if message.role in SPOKEN]
    texts += [fact.text for fact in known.facts]
    return set(_WORD.findall(_folded(" ".join((*texts, known.name or "")))))


def _preferences(preferences: Iterable[ExtractedPreference]) -> Iterator[ExtractedPreference]:
    seen: set[str] = set()
    for preference in preferences:
        name = _sane(preference.name, LIMITS.preference_name)
        value = preference.value.strip() if isinstance(preference.value, str) else preference.value
        if name is not None and name not in seen and _is_sane(value):
            seen.add(name)
            yield ExtractedPreference(name=name, value=value)


def _is_sane(value: Scalar) -> bool:
    try:
        check_scalar("value", value, LIMITS.preference_value)
    except InvalidInputError:
        return False
    return not (isinstance(value, str) and _FENCE.search(value))


def _name(text: str | None, conversation: Conversation) -> str | None:
    name = None if text is None else _sane(text, LIMITS.name)
    if name is None or name == conversation.known.name:
        return name
    said = _folded(" ".join(message.text for message in conversation.messages if message.role == "user"))
    words, wanted = set(_WORD.findall(said)), _WORD.findall(_folded(name))
    occur = all(word in words or (_UNSPACED.search(word) is not None and word in said) for word in wanted)
    return name if wanted and occur else None


def _summary(text: str | None) -> str | None:
    summary = None if text is None else _sane(text, _ANY_SIZE)
    return None if summary is None else _cut(summary, LIMITS.summary)


def _cut(text: str, limit: int) -> str:
    """As many whole words as fit into *limit* bytes; a part of the first if not even that fits."""
    cut = text.encode()[:limit].decode(errors="ignore")
    if len(cut) == len(text) or text[len(cut)].isspace() or cut[-1].isspace():
        return cut.rstrip()
    return cut.rsplit(maxsplit=1)[0]


def _sane(text: str, limit: int) -> str | None:
    try:
        checked_text = check_text("text", text.strip(), limit)
    except InvalidInputError:
        return None
    return None if _FENCE.search(checked_text) else checked_text


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
