"""An extractor that needs no model: a small honest set of English patterns."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from anyio import to_thread  # noqa: TID251 - for the extractor, which is no more than a way to `extracted`

from edgememory.extract import asked
from edgememory.extract.extractor import Conversation, Extracted, ExtractedFact, ExtractedPreference, Extractor
from edgememory.extract.found import Found, facts
from edgememory.extract.spoken import clauses, is_question, said_by_user, sentences
from edgememory.extract.summary import summary
from edgememory.keys import fact_key
from edgememory.models import Fact

MOST_FACTS = 32
"""Of one conversation: the last ones said."""


class RuleExtractor:
    """Finds what users plainly say of themselves. No model and no I/O: the same conversation always gives the same.

    It knows English only, and few ways to say a thing: the name; where somebody lives, comes from and works; likes,
    dislikes, allergies and diets; who belongs to them; appointments, with the date on which they were named; and, as
    preferences, the language, how and when to be called, the pace and the volume. Of other languages there is a summary
    only: the user's own sentences that say most.

    Questions, wishes, negations, quotations and what others are reported to say count for nothing. Corrections in
    mid-sentence ("I live in Porto, sorry, I meant Lisbon") are beyond it, as are irony and all that must be understood.
    """

    async def extract(self, conversation: Conversation) -> Extracted:
        # Half a second for the longest calls, in which nobody else's would be heard.
        return await to_thread.run_sync(extracted, conversation)

    async def aclose(self) -> None:
        return


def extracted(conversation: Conversation) -> Extracted:
    """Say what a conversation leaves behind."""
    if conversation.language != "english":
        return Extracted(summary=summary(conversation.messages))
    name: str | None = None
    found: dict[str, Found] = {}
    preferences: dict[str, str] = {}
    for number, (message, text) in enumerate(said_by_user(conversation.messages)):
        for sentence in sentences(text):
            told: list[str] = []
            for clause in clauses(sentence):
                wanted = asked.preferences(clause)
                preferences |= wanted
                told += [] if wanted else [clause]
            if not is_question(sentence):
                name = asked.name(told, at_first=number == 0) or name
                for fact in facts(told, message):
                    found.pop(fact.slot, None)  # the last one said holds, and stands last
                    found[fact.slot] = fact
    return Extracted(
        facts=tuple(_new([*found.values()], conversation.known.facts))[-MOST_FACTS:],
        preferences=tuple(ExtractedPreference(name=each, value=value) for each, value in preferences.items()),
        name=name,
        summary=summary(conversation.messages),
    )


def _new(found: Iterable[Found], known: Sequence[Fact]) -> Iterator[ExtractedFact]:
    """Yield what is not known yet, and again for each further fact that it replaces."""
    keys = {fact.key for fact in known}
    for each in found:
        key = fact_key(each.text)
        replaced = [fact.text for fact in known if fact.key != key and each.replaces(fact.text)]
        if replaced or key not in keys:
            for text in replaced or (None,):
                yield ExtractedFact(text=each.text, importance=each.importance, replaces=text)


if TYPE_CHECKING:
    _: type[Extractor] = RuleExtractor
