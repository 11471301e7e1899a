"""What was extracted, as changes of the session that it was extracted from."""

from collections.abc import Iterator
from itertools import count

from edgememory.changes import Change, FactRemembered, NameSet, PreferenceSet, SummaryAdded
from edgememory.extract.extractor import Extracted
from edgememory.keys import fact_key
from edgememory.models import Awaiting, Snapshot


def changes_of(extracted: Extracted, awaiting: Awaiting, known: Snapshot) -> list[Change]:
    """Return the changes to commit.

    Their ids follow that of the session's end: what was said in a later call, while this one still waited, wins; so
    what would replace that is left out. They are the same each time, and know of no deletion that the session did not
    know of.
    """
    ids = (_id_after(awaiting.id, steps) for steps in count(1))
    return list(_changes(extracted, awaiting, known, ids))


def _changes(extracted: Extracted, awaiting: Awaiting, known: Snapshot, ids: Iterator[str]) -> Iterator[Change]:
    session_id, started, base = awaiting.session_id, awaiting.session_started, awaiting.base
    if extracted.name is not None and extracted.name != known.name:
        yield NameSet(id=next(ids), session_id=session_id, session_started=started, base=base, name=extracted.name)
    for preference in extracted.preferences:
        yield PreferenceSet(
            id=next(ids),
            session_id=session_id,
            session_started=started,
            base=base,
            name=preference.name,
            value=preference.value,
        )
    newer = {fact.key for fact in known.facts if fact.id > awaiting.id}
    stale = {fact_key(fact.text) for fact in extracted.facts if fact.replaces and fact_key(fact.replaces) in newer}
    for fact in extracted.facts:
        if fact_key(fact.text) in stale:
            continue
        yield FactRemembered(
            id=next(ids),
            session_id=session_id,
            session_started=started,
            base=base,
            key=fact_key(fact.text),
            text=fact.text,
            importance=fact.importance,
            replaces=None if fact.replaces is None else fact_key(fact.replaces),
            language=awaiting.language,
        )
    if extracted.summary is not None:
        yield SummaryAdded(
            id=next(ids),
            session_id=session_id,
            session_started=started,
            base=base,
            text=extracted.summary,
            language=awaiting.language,
        )


def _id_after(id: str, steps: int) -> str:
    """Return the UUID so many after *id*: of the same millisecond."""
    digits = f"{int(id.replace('-', ''), 16) + steps:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
