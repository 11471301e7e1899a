"""What the scripted model answers: rules in place of a language model, for those who have no key.

It reads what a real model would read, and nothing else: the messages of the context, the fenced block of memory among
them. So if its greeting knows the caller, memory has brought that.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import cast

NEWCOMER = "Hello! We have not met. Who are you?"
AGAIN = "Hello again! I know you, but not your name. What is it?"
UNKNOWN = "I know nothing about you yet. Tell me your name, or where you live."
MORE = "I see. Tell me more, or ask me what I remember about you."

_END = r"(?= and i | but |[.,!?]|$)"
_FACTS = (
    (re.compile(r"\bmy name is (\w+)", re.IGNORECASE), "Is called {}"),
    (re.compile(r"\bi (?:live in|moved to) (.+?)" + _END, re.IGNORECASE), "Lives in {}"),
    (re.compile(r"\bi (?:like|love) (.+?)" + _END, re.IGNORECASE), "Likes {}"),
)
_FORGET = re.compile(r"\bforget (?:that )?i (?:live in|like|love) (.+?)" + _END, re.IGNORECASE)
_ASKS = re.compile(r"\bremember\b|\bknow about me\b|\bwhat is my\b|\bwhere do i\b|\bwho am i\b", re.IGNORECASE)
_LEAVES = re.compile(r"\b(?:good ?bye|bye)\b", re.IGNORECASE)
_SAID_OF_YOU = (("Lives in ", "you live in "), ("Likes ", "you like "))
_FACT_LINE = re.compile(r"- \[[\d-]+\] (?!user:|assistant:)(.+)")
_NAME_LINE = re.compile(r"- Name: (.+)")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool that the model wants to be called."""

    tool: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Known:
    """What the block of memory says about the caller."""

    name: str | None
    facts: tuple[str, ...]


def answer(messages: Sequence[Mapping[str, object]]) -> str | tuple[Call, ...]:
    """Return what to say, or the tools to call first."""
    block = next((text for it in messages if (text := text_of(it)).startswith("<user_memory>")), "")
    talk = [it for it in messages if it.get("role") != "system" and not text_of(it).startswith("<user_memory>")]
    said = [it for it in talk if it.get("role") == "user"]
    known = read_block(block)
    if not said:
        return greeting(known, blank=not block)
    if talk[-1].get("role") == "tool":
        since = takewhile(lambda it: it.get("role") != "user", reversed(talk))
        return confirmation([text_of(it) for it in since if it.get("role") == "tool"][::-1])
    return reply(text_of(said[-1]), known)


def reply(said: str, known: Known) -> str | tuple[Call, ...]:
    """Return the answer to the caller's last words."""
    if unwanted := _FORGET.search(said):
        gone = [fact for fact in known.facts if fact.lower().endswith(unwanted[1].lower())]
        return tuple(Call("forget", {"fact": fact}) for fact in gone) or "I did not know that."
    if facts := [
        wording.format(_titled(found[1], wording)) for rule, wording in _FACTS if (found := rule.search(said))
    ]:
        return tuple(Call("remember", {"fact": fact}) for fact in facts)
    if _LEAVES.search(said):
        return f"Goodbye, {known.name}." if known.name else "Goodbye."
    if _ASKS.search(said):
        return recital(known)
    return MORE


def greeting(known: Known, *, blank: bool) -> str:
    """Return the first words of a call."""
    if blank:
        return NEWCOMER
    hello = f"Welcome back, {known.name}!" if known.name else AGAIN
    return f"{hello} I remember that {_listed(known.facts)}." if known.facts else hello


def recital(known: Known) -> str:
    """Return all that is known."""
    if not (known.name or known.facts):
        return UNKNOWN
    named = [f"your name is {known.name}"] if known.name else []
    return f"I remember that {_listed(known.facts, named)}."


def confirmation(done: Sequence[str]) -> str:
    """Return what is said once tools have answered with *done*; nothing while one of them has not."""
    if "IN_PROGRESS" in done:
        return ""
    kept = [text.removeprefix("Remembered: ") for text in done if text.startswith("Remembered: ")]
    if not kept:
        return " ".join(text.splitlines()[0] for text in done if text)
    name = next((fact.removeprefix("Is called ") for fact in kept if fact.startswith("Is called ")), None)
    facts = [fact for fact in kept if not fact.startswith("Is called ")]
    thanks = f"Nice to meet you, {name}." if name else "Thank you."
    return f"{thanks} I will remember that {_listed(facts)}." if facts else thanks


def read_block(block: str) -> Known:
    """Find the name and the facts in a block of memory."""
    facts = [it for it in _FACT_LINE.findall(block.partition("The last messages:")[0]) if isinstance(it, str)]
    named = _NAME_LINE.search(block)
    called = [fact.removeprefix("Is called ") for fact in facts if fact.startswith("Is called ")]
    name = called[-1] if called else named and named[1]
    return Known(name, tuple(fact for fact in facts if not fact.startswith("Is called ")))


def text_of(message: Mapping[str, object]) -> str:
    """Return the text of a message, whose content may be a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        # Pipecat writes what a tool has answered as JSON, and a bare word while it has not.
        return str(json.loads(content)) if content.startswith('"') else content
    parts = cast("list[Mapping[str, object]]", content) if isinstance(content, list) else []
    return " ".join(str(part["text"]) for part in parts if "text" in part)


def _titled(found: str, wording: str) -> str:
    # Speech to text without a key writes everything small.
    return found if wording.startswith("Likes") else found.title()


def _listed(facts: Sequence[str], before: Sequence[str] = ()) -> str:
    parts = [*before, *map(_of_you, facts)]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _of_you(fact: str) -> str:
    for stored, spoken in _SAID_OF_YOU:
        if fact.startswith(stored):
            return spoken + fact.removeprefix(stored)
    return f"you told me: {fact}"
