"""What was said, in sentences and clauses."""

import re
from collections.abc import Iterable, Iterator

from edgememory.models import Message

MOST_READ = 64 * 1024
"""Characters of one conversation: more than an hour of speech. What is beyond is not looked at."""

_SENTENCE = re.compile(r"[^.!?;…\n]{1,400}(?:\.(?=\S)[^.!?;…\n]{0,400}){0,20}[.!?;…]{0,5}")
"""A point within a number or an address ends none. What is longer is taken for several."""
_ABBREVIATED = re.compile(r"\b(?:dr|mr|mrs|ms|prof|st|a\.m|p\.m)\.$", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“„«][^\"“”„«»]{0,2000}+(?:[\"”“»]|$)")
_BREAK = re.compile(
    r" ?[,:] | [-\u2013\u2014] | (?:and|but|because|so|although|though|since|while|which|who) ", re.IGNORECASE
)
_FILLER = re.compile(
    r"(?:(?:well|yes|yeah|yep|no problem|no|nope|hi|hello|hey|oh|um|uh|ok|okay|so|and|but|also|actually|sorry|listen"
    r"|look|just|by the way|you know|i mean|to be honest|good (?:morning|afternoon|evening)|there"
    r"|thank(?:s| you))\b[ ,.]*){1,6}",
    re.IGNORECASE,
)
_TAKES_BACK = re.compile(
    r"(?:well |actually |or |maybe )?(?:not?|just kidding|just joking)"
    r"(?: (?:any ?more|any longer|now|really|at all|true|wait|sorry|though|actually)){0,2}",
    re.IGNORECASE,
)
"""What was said before it was not meant. Not "not Basel", or "no problem"."""
_REPORTS = re.compile(
    r"(?<!\bi )\b(?:said|says|told|tells|asked|asks|wrote|writes|claims|claimed|replied|answered)\b"
    r"|^(?:if|suppose|imagine|maybe|when)\b",
    re.IGNORECASE,
)
"""Another speaks in what follows, or nobody does."""


def said_by_user(messages: Iterable[Message]) -> Iterator[tuple[Message, str]]:
    """Yield each message of the user with its text, `MOST_READ` in all: apostrophes plain, quotations left out."""
    room = MOST_READ
    for message in messages:
        if message.role == "user":
            text = message.text[:room]
            room -= len(text)
            yield message, _QUOTED.sub(" … ", text.replace("\u2019", "'"))


def sentences(text: str) -> Iterator[str]:
    """Yield them with their full stop, their blanks and line breaks made single blanks."""
    before = ""
    for found in _SENTENCE.finditer(text):
        sentence = " ".join(f"{before} {found[0]}".split())
        if _ABBREVIATED.search(sentence[-8:]) and len(sentence) < 400:
            before = sentence
        elif sentence:
            before = ""
            yield sentence
    if before:
        yield before


def is_question(sentence: str) -> bool:
    """Whether it asks."""
    return sentence.endswith("?")


def clauses(sentence: str) -> list[str]:
    """Take a sentence apart, up to where somebody else is reported to speak."""
    taken: list[str] = []
    for part in _BREAK.split(sentence.rstrip(" .!?;…")):
        clause = part.strip(" ,.!-")
        if _TAKES_BACK.fullmatch(clause):
            taken.clear()
            continue
        if filler := _FILLER.match(clause):
            clause = clause[filler.end() :]
        if _REPORTS.search(clause):
            break
        if clause:
            taken.append(clause)
    return taken
