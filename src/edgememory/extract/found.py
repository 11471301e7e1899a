"""The facts that an English sentence says of its speaker."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from re import Pattern

from msgspec import Struct

from edgememory.extract import patterns
from edgememory.extract.cut import MOST_CHARACTERS, NEGATED, SUSPECT, person, place, thing, work
from edgememory.keys import fact_key
from edgememory.models import Message


class Found(Struct, frozen=True):
    """A fact, and what it stands in the place of."""

    text: str
    importance: int
    slot: str
    """What can hold once only: the last one said in a conversation does."""
    replaces: Callable[[str], bool] = lambda known: False
    """Whether a known fact no longer holds, by its text."""


class _Rule(Struct, frozen=True):
    clause: Pattern[str]
    says: str
    cut: Callable[[str], str | None]
    importance: int = 5
    single: bool = False
    """Only one can hold at a time."""
    opposite: str | None = None
    """How the fact begins that this one replaces, if the rest is the same."""


_RULES = (
    _Rule(patterns.LIVES_IN, "Lives in", place, importance=7, single=True),
    _Rule(patterns.COMES_FROM, "Comes from", place, single=True),
    _Rule(patterns.WORKS_AT, "Works at", work, importance=6, single=True),
    _Rule(patterns.WORKS_AS, "Works as", work, importance=6, single=True),
    _Rule(patterns.LIKES, "Likes", thing, opposite="Dislikes"),
    _Rule(patterns.DISLIKES, "Dislikes", thing, opposite="Likes"),
    _Rule(patterns.PREFERS, "Prefers", thing),
)


def facts(clauses: Sequence[str], message: Message) -> Iterator[Found]:
    """Yield what the clauses of a sentence say."""
    for number, clause in enumerate(clauses):
        yield from _by_rule(clause)
        yield from _relation(clause)
        if diet := patterns.DIET.match(clause):
            yield _plain(f"Is {diet[1].lower()}", 8)
        yield from _allergies(clause, clauses[number + 1 :])
        if not any(map(patterns.CALLED_OFF.search, clauses[number:])):
            yield from _appointment(clause, clauses[number + 1 : number + 2], message)


def _plain(text: str, importance: int) -> Found:
    return Found(text, importance, fact_key(text))


def _by_rule(clause: str) -> Iterator[Found]:
    for rule in _RULES:
        found = rule.clause.match(clause)
        if found and (rest := rule.cut(found["rest"])) is not None:
            yield _of_rule(rule, rest)
            return


def _of_rule(rule: _Rule, rest: str) -> Found:
    text, begins = f"{rule.says} {rest}", f"{rule.says} ".casefold()
    if rule.single:
        return Found(text, rule.importance, rule.says, lambda known: known.casefold().startswith(begins))
    if rule.opposite is not None:
        undone = fact_key(f"{rule.opposite} {rest}")
        return Found(text, rule.importance, f"taste {fact_key(rest)}", lambda known: fact_key(known) == undone)
    return _plain(text, rule.importance)


def _relation(clause: str) -> Iterator[Found]:
    found = patterns.RELATION.search(clause)
    if found is None or NEGATED.search(clause):
        return
    # Without "called" it is a name only if it has a capital: "my wife works".
    named = person(found["rest"]) if found["is"] or found["rest"][0].isupper() else None
    if named is not None:
        kin = found["kin"].lower()
        yield _plain(f"Has {_article(kin)} {kin} called {named}", 7)


def _allergies(clause: str, following: Sequence[str]) -> Iterator[Found]:
    """Take all that are named: the one behind "and" is as dangerous."""
    found = patterns.ALLERGIC_TO.match(clause)
    if found is None:
        return
    items = [found["rest"]]
    for part in following:
        if part.count(" ") > 1 or patterns.NO_ITEM.match(part):
            break
        items.append(part)
    for item in (each for part in items for each in patterns.OR.split(part)):
        if (what := thing(item)) is not None:
            yield _plain(f"Is allergic to {what}", 9)


def _appointment(clause: str, following: Sequence[str], message: Message) -> Iterator[Found]:
    # "On Tuesday, March 3rd" is one time of one appointment.
    more = [part for part in following if part.count(" ") < 6 and patterns.WHEN.search(part)]
    found = patterns.APPOINTMENT.match(", ".join([clause, *more]))
    if found is None or not patterns.WHEN.search(found[0]) or NEGATED.search(found[0]) or SUSPECT.search(found[0]):
        return
    what = found["what"] or f"{_article(found['mine'])} {found['mine']} {found['when']}"
    for pattern, word in patterns.FROM_THE_AGENTS_SIDE:
        what = pattern.sub(word, what)
    if len(what) <= MOST_CHARACTERS:
        yield _plain(f"Has {what} (said on {message.at.astimezone(UTC).date().isoformat()})", 6)


def _article(noun: str) -> str:
    return "an" if noun[0].lower() in "aeiou" else "a"
