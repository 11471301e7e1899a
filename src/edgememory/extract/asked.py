"""What an English sentence says of how its speaker wants to be called and talked to."""

from collections.abc import Sequence

from edgememory.extract import patterns
from edgememory.extract.cut import person


def name(clauses: Sequence[str], *, at_first: bool) -> str | None:
    """Return what the user is called, if they say so. *at_first*: they introduce themselves in their first words."""
    for clause in clauses:
        if found := patterns.NAME.match(clause):
            return person(found["rest"])
        if found := patterns.CALL_ME.match(clause):
            # All of it, and with a capital: "call me back", "call me Tuesday", "I go by car".
            return found["rest"] if person(found["rest"]) == found["rest"] else None
        if at_first and (found := patterns.THIS_IS.match(clause)):
            return _introduced(found["rest"])
    return None


def _introduced(rest: str) -> str | None:
    """Take the name of "this is ...", if it is one in full, or somebody says that they are calling."""
    named = person(rest) if rest[0].isupper() else None
    if named is None or patterns.NO_PERSON.search(named):
        return None
    behind = rest.removeprefix(named).strip(" ,.")
    return named if patterns.CALLING.match(behind) or (" " in named and not behind) else None


def preferences(clause: str) -> dict[str, str]:
    """Return what the user asks for from now on."""
    if found := patterns.LANGUAGE.fullmatch(clause):
        return {"language": found["language"].title()}
    if found := patterns.CONTACT.fullmatch(clause):
        return {"contact": _way(found["way"] or found["verb"])}
    if found := patterns.CALL_AFTER.fullmatch(clause):
        return {"call": found["when"].lower()}
    if patterns.SLOWLY.fullmatch(clause):
        return {"pace": "slow"}
    if patterns.LOUDER.fullmatch(clause):
        return {"volume": "loud"}
    return {}


def _way(word: str) -> str:
    word = word.lower().replace("-", "")
    ways = {"email": "email", "text": "text", "sms": "text", "phone": "phone", "letter": "post", "post": "post"}
    return next((way for begin, way in ways.items() if word.startswith(begin)), word)
