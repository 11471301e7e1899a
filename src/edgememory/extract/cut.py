"""What is kept of the rest of a clause; `None` where it says nothing that lasts."""

import re

from edgememory.extract.patterns import DAY

MOST_CHARACTERS = 80
MOST_WORDS = 8

SUSPECT = re.compile(
    r"[<>{}\[\]|\\`]"
    r"|\b(?:ignor\w{1,3}|disregard|override|forget)\b.{0,40}\b(?:instructions?|prompts?|rules?|everything|above|previous)\b"
    r"|\b(?:delet\w{1,3}|eras\w{1,3}|wipe)\b.{0,30}\b(?:memory|memories|everything|all|facts?)\b"
    r"|\b(?:system|developer) prompts?\b|\bjailbreak",
    re.IGNORECASE,
)
"""Fences, code, and the words of those who talk to a model through what it will be told."""
NEGATED = re.compile(
    r"\b(?:not|never|no (?:longer|more|one)|any ?more|nor|neither|none|nothing|nobody|nowhere|\w{1,10}n't)\b",
    re.IGNORECASE,
)

_POINTING = re.compile(
    r"\b(?:i|i'm|me|my|mine|myself|we|us|our|you|your|yours|it|its|it's|this|that|these|those|them|they|him|her|his|their"
    r"|here|there|one|ones|option|better|today|tomorrow|morning|afternoon|evening)\b|\d",
    re.IGNORECASE,
)
"""What means something in this call only."""
_NO_THING = re.compile(
    r"(?:to|how|when|what|where|who|why|if|whether|for|as|so|than"
    r"|the (?:way|idea|sound|first|second|third|last|other|next))\b",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r" (?:very much|a lot|so much|too|as well|now|these days|at the moment|right now|the most|most|please|though"
    r"|actually|really|instead|best|or|or so)$",
    re.IGNORECASE,
)
_TIME = re.compile(
    r" (?:now|since|for|with|at|last|this|too|please|right|just|again|near|by|because|in)\b.{0,200}$", re.IGNORECASE
)
_LONG_AGO = re.compile(r"\b(?:when|as a|back then)\b", re.IGNORECASE)
_NO_PLACE = re.compile(
    r"\b(?:inc|ltd|llc|gmbh|corp|company|bank|insurance|support|sales|team|department|cancel|agent|operator"
    r"|premium|plan|package|tariff|tier|subscription|account|version)\b(?!-)",
    re.IGNORECASE,
)
_NO_WORK = re.compile(r"(?:nights?|weekends?|home|the moment|least|once|noon|free|all|you)\b", re.IGNORECASE)
_PARTICLE = re.compile("de|da|do|del|della|di|du|la|le|el|van|von|der|den|of|upon|am|an|bin|al|y|the")
_SMALL_NAME = re.compile(r"[^\W\d_][\w'-]{1,30}(?: [^\W\d_][\w'-]{1,30}){0,2}")
_NO_NAME = re.compile(
    "not|wrong|spelled|spelt|misspelled|missing|different|important|common|long|short|hard|in|on|at|still|also|already"
    "|there|here|correct|right|a|an|back|later|again|when|if|after|before|maybe|what|whatever|please|soon|now|my|your"
    "|our|this|that|it|mr|mrs|ms|sir|madam|crazy|about|for|to|of|under|up|down|out|easy|ok|okay|is|was|fear|hope|peace"
    "|and|i|yes|no|hello|hi|thanks|sorry|very|really|quite|tired|listed|known|so|irrelevant|unimportant|private|secret"
    "|none|nobody|nothing|neither|nowhere|me|away|off|every|anyway|god",
    re.IGNORECASE,
)


def thing(rest: str) -> str | None:
    """Return what somebody likes: a thing or a doing, not "it", and not what they want done now."""
    for _ in range(3):
        rest = _TAIL.sub("", rest.strip(" .,!-"))
    if not rest or len(rest) > MOST_CHARACTERS or rest.count(" ") >= MOST_WORDS:
        return None
    unfit = _NO_THING.match(rest) or any(each.search(rest) for each in (_POINTING, NEGATED, SUSPECT, DAY))
    return None if unfit else rest


def work(rest: str) -> str | None:
    """Return an employer or a trade, not when or for how long."""
    rest = _TIME.sub("", rest, count=1)
    return None if _NO_WORK.match(rest) else thing(rest)


def place(rest: str) -> str | None:
    """Return a name that the rest begins with; where nothing has a capital all of it, if that is but a few words."""
    if NEGATED.search(rest) or SUSPECT.search(rest) or _LONG_AGO.search(rest):
        return None
    named = _capitalised(rest) or _small(_TIME.sub("", rest, count=1))
    if named is None:
        return None
    words = rest.split()[: named.count(" ") + 2]  # with the one behind: "Premium plan"
    return None if _NO_PLACE.search(" ".join(words)) else named


def person(rest: str) -> str | None:
    """Return a name that the rest begins with; where nothing has a capital all of it, if that is two words at most."""
    if SUSPECT.search(rest):
        return None
    return _capitalised(rest) or (_small(rest) if rest.count(" ") < 2 else None)


def _capitalised(rest: str) -> str | None:
    taken: list[str] = []
    for word in rest.split()[:6]:
        if word[0].isupper() and word not in ("I", "I'm", "I've", "I'd"):
            taken.append(word.strip(".,!'"))
        elif _PARTICLE.fullmatch(word):
            taken.append(word)
        else:
            break
    while taken and _PARTICLE.fullmatch(taken[-1]):
        taken.pop()
    return _name(taken)


def _small(rest: str) -> str | None:
    if rest != rest.lower() or not _SMALL_NAME.fullmatch(rest) or rest.startswith("the "):
        return None
    return _name(rest.title().split())


def _name(words: list[str]) -> str | None:
    named = " ".join(words)
    letters = all(character.isalnum() or character in " '-." for character in named)
    if not letters or not named[:1].isalpha() or len(named) > MOST_CHARACTERS or DAY.search(named):
        return None
    return None if _NO_NAME.fullmatch(words[0]) or _NO_NAME.fullmatch(words[-1]) else named
