"""Callers that nobody is: what the lab's users have told the agent in earlier calls."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from msgspec import Struct

from edgememory.changes import Change, FactRemembered, MessageAdded, NameSet, PreferenceSet, SummaryAdded
from edgememory.ids import next_id
from edgememory.keys import fact_key
from edgememory.models import Role, UserKey

NAMESPACE = "lab"
STARTED = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)

_COLOURS = ("Amber", "Copper", "Indigo", "Olive", "Scarlet", "Silver", "Teal", "Violet")
_PLACES = ("Bridge", "Field", "Harbour", "Hill", "Lake", "Meadow", "Orchard", "River")
_FACTS = (
    "Lives near the old market and comes by tram",
    "Prefers to be called after six in the evening",
    "Is allergic to hazelnuts",
    "Has two children who come along at weekends",
    "Wants invoices by post, not by e-mail",
    "Speaks German at home and French at work",
    "Moved the yearly appointment from May to June",
)
_SUMMARIES = (
    "Asked to move an appointment. Offered Tuesday or Friday; Friday at ten was taken.",
    "Wanted to know why the last invoice was higher. The travel costs were explained, and accepted.",
    "Reported that the delivery had not arrived. It was found at the neighbour's; no refund was needed.",
)
_TALK: tuple[tuple[Role, str], ...] = (
    ("user", "Hello, it's me again. I called last week about the appointment."),
    ("assistant", "Good to hear you. You are down for Friday at ten. Does that still suit you?"),
    ("user", "Yes, Friday is fine. Could somebody pick me up at the station, though?"),
    ("assistant", "Of course. Which train will you be on, and will the children come along?"),
    ("user", "The one that gets in at nine forty. Just me this time, they are at school."),
    ("assistant", "Then a small car will do. It waits at the south exit from half past nine."),
    ("user", "South exit, got it. And no hazelnut cake with the coffee, please."),
    ("assistant", "That is noted already: no hazelnuts. Shall the invoice come by post as usual?"),
    ("user", "By post, yes. That was all, thank you very much for your help."),
    ("assistant", "You are welcome. See you on Friday at ten."),
)


class Person(Struct, frozen=True):
    """A user of the lab. Each context block of theirs must show the *mark*."""

    user_id: str
    mark: str

    @property
    def key(self) -> UserKey:
        return UserKey(NAMESPACE, self.user_id)

    def earlier_calls(self) -> Iterator[Change]:
        """Yield what the origin knows of them: about 3 KiB, as after three calls."""
        number = int(self.user_id.rpartition("-")[2])
        colour, place = _COLOURS[number % 8], _PLACES[number // 8 % 8]
        yield self._change(NameSet, name=f"{colour} {place}")
        yield self._change(PreferenceSet, name="language", value="de")
        for text in (self.mark, *_FACTS):
            yield self._change(FactRemembered, key=fact_key(text), text=text, importance=5)
        for text in _SUMMARIES:
            yield self._change(SummaryAdded, text=text)
        for role, text in _TALK:
            yield self._change(MessageAdded, role=role, text=text, at=STARTED)

    def _change(self, kind: Callable[..., Change], **fields: object) -> Change:
        return kind(id=next_id(), session_id=f"earlier-{self.user_id}", session_started=STARTED.timestamp(), **fields)


def people(group: str, count: int) -> list[Person]:
    return [Person(f"{group}-{number}", f"Customer number {group}-{number:05}") for number in range(count)]
