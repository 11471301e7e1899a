"""Each check finds what it is for, in the smallest history that has it, and nothing in one that does not."""

from collections.abc import Sequence
from typing import Any

import pytest

from edgememory.freshness import Policy
from edgememory.models import Fact, Preference, Snapshot, Summary
from edgememory.testing.history import (
    Appended,
    Asked,
    Broke,
    Closed,
    Committed,
    Converged,
    Deleted,
    Drained,
    Event,
    Evicted,
    Flushed,
    Got,
    History,
    Idled,
    Left,
    Made,
    Restored,
    Saw,
    WasCommitted,
)
from edgememory.testing.promises import PROMISES, violations

POLICY = Policy(ttl=10, stale_while_revalidate=20, missing_ttl=2, near_ttl=1, near_keep=4)
OF = {"process": "p", "host": "h", "region": "r", "user": "ana"}
SAID = "Lives in Lisbon"


def made(at: float = 1.0, **fields: Any) -> Made:
    default = {"session": "s", "id": "id", "form": "fact", "text": SAID, "base": 1, "started": 0.5}
    return Made(at=at, began=at, **OF, **(default | fields))


def left(at: float = 2.0, *, durable: bool = True, **fields: Any) -> Left:
    return Left(at=at, began=fields.pop("began", at), **(OF | fields), session="s", durable=durable, ended=False)


def got(began: float = 3.0, *texts: str, **fields: Any) -> Got:
    default = {"status": "fresh", "tier": "edge", "version": 2, "erased_at": 0, "erased_time": 0.0, "exists": True}
    return Got(
        at=fields.pop("at", began), began=began, texts=frozenset(texts), **(OF | {"session": "t"} | default | fields)
    )


def committed(at: float = 2.5, version: int = 2, **fields: Any) -> Committed:
    default = {"erased_at": 0, "erased_time": 0.0, "exists": True, "ids": (), "dropped": (), "refused": ()}
    fields = default | fields
    fields |= {name: frozenset(fields[name]) for name in ("dropped", "refused")}
    return Committed(at=at, user="ana", version=version, **fields)


def erased(at: float = 2.5, version: int = 2) -> Committed:
    return committed(at, version, erased_at=version, erased_time=at, exists=False)


def deleted(at: float = 2.6, cleared: frozenset[str] = frozenset({"edge"})) -> Deleted:
    return Deleted(at=at, began=2.4, **OF, version=2, cleared=cleared)


def asked(began: float, at: float, at_least: int = 0) -> Asked:
    return Asked(at=at, began=began, **OF, at_least=at_least)


def saw(*texts: str, ended: bool = False) -> Saw:
    return Saw(at=1.5, began=1.5, **OF, session="s", version=1, texts=frozenset(texts), ended=ended)


def was_committed(version: int = 2) -> WasCommitted:
    return WasCommitted(at=2.8, began=2.7, **OF, session="s", version=version)


KEPT = {"ana": Snapshot(version=2, exists=True, facts=(Fact(key="k", id="id", text=SAID, importance=5),))}
LOST = {"ana": Snapshot(version=2, exists=True)}
TWICE = {"ana": Snapshot(version=2, exists=True, name=SAID, preferences=(Preference(name="p", id="id", value=SAID),))}
SIX = {
    "ana": Snapshot(
        version=2, exists=True, summaries=tuple(Summary(id=str(n), session_id="s", text=str(n)) for n in range(6))
    )
}
GONE = {"ana": Snapshot(version=2, exists=False, erased_at=2, erased_time=2.5)}


def broken(events: Sequence[Event], final: dict[str, Snapshot] = KEPT) -> set[str]:
    history = History(policy=POLICY, events=list(events), final=final)
    return {line.partition(":")[0] for line in violations(history)}


BROKEN: dict[str, list[tuple[Sequence[Event], dict[str, Snapshot]]]] = {
    "reads_your_writes": [
        ([made(), left(), got()], KEPT),
        ([made(), left(), got(process="q")], KEPT),
        *(([made(form=form), left(), got()], KEPT) for form in ("message", "summary", "preference", "name")),
        ([made(form="forgotten"), left(), got(3.0, SAID)], LOST),
    ],
    "reads_what_was_committed": [([made(), was_committed(), got(host="elsewhere", process="q", at_least=2)], KEPT)],
    "sessions_see_their_own_changes": [([made(), saw()], KEPT), ([made(form="forgotten"), saw(SAID)], LOST)],
    "reads_never_go_back": [([got(3.0, version=3), got(4.0, version=2)], KEPT)],
    "reads_are_not_too_old": [
        ([committed(2.5, 3), got(12.6)], KEPT),
        ([committed(2.5, 3), got(32.6, status="stale")], KEPT),
        ([committed(2.5, 3), got(4.6, exists=False)], KEPT),
        ([Restored(at=2.5, since=2.0, least=2**32), got(12.6)], KEPT),
    ],
    "nothing_is_lost": [
        ([made(), left()], LOST),
        ([made(form="forgotten"), left()], KEPT),
        *(([made(form=form), left()], LOST) for form in ("message", "summary", "preference", "name")),
        ([made(), Appended(at=1.1, host="h", id="id")], LOST),
        ([made(), Flushed(at=1.2, began=1.1, process="p")], LOST),
        ([made(), left()], TWICE),
        ([made(), left(), committed(refused=("id",))], KEPT),
        ([made(refusable=True), left()], LOST),
        ([Drained(at=9.0, host="h", waiting=1, dead=frozenset())], KEPT),
    ],
    "what_was_taken_stays": [([made(base=2), committed(erased_at=2, ids=("id",), dropped=("id",))], KEPT)],
    "deleted_stays_deleted": [
        ([made(), erased(), deleted(), got(3.0, SAID)], GONE),
        ([made(), erased(), deleted(), got(7.0, SAID, process="q")], GONE),
        ([made(), erased(), deleted(cleared=frozenset()), got(3.0, SAID)], GONE),
        ([made(), erased(), deleted(), Evicted(at=2.7, region="r", user="ana"), got(3.0, SAID)], GONE),
    ],
    "one_load": [([asked(1.0, 2.0), asked(1.1, 2.0), asked(1.2, 2.0)], KEPT)],
    "caches_converge": [
        ([Converged(at=9.0, region="r", store="edge", user="ana", held="old", expected="new")], KEPT),
    ],
    "agents_never_break": [
        ([got(3.0, at=3.6)], KEPT),
        ([left(5.0, began=2.9)], KEPT),
        ([Broke(at=1.0, began=1.0, **OF, error="StoreError")], KEPT),
        ([Closed(at=1.0, process="p", background_errors=1, running=0)], KEPT),
    ],
    "delivery_never_gets_stuck": [([Idled(at=9.0, process="p", waiting=1)], KEPT)],
    "nothing_goes_on": [([Closed(at=1.0, process="p", background_errors=0, running=1)], KEPT)],
}

SOUND: list[tuple[Sequence[Event], dict[str, Snapshot]]] = [
    ([made(), left(), got(3.0, SAID)], KEPT),
    ([made(form="forgotten"), left(), got()], LOST),
    ([made(form="name", id="1", text="Ana"), made(form="name", id="2"), left(), got(3.0, SAID)], KEPT),
    (
        [*(made(form="summary", id=str(number), text=str(number)) for number in range(6)), left(), got(3.0, *"12345")],
        SIX,
    ),
    ([made(), Flushed(at=1.2, began=0.9, process="p")], LOST),  # it began before the change was made
    ([made(), Flushed(at=1.2, began=1.1, process="q")], LOST),
    ([made(), left(durable=False), got(3.0, process="q")], KEPT),  # on the same outbox, but it never got there
    ([made(), left(), got(3.0, status="degraded")], KEPT),
    ([made(), left(), got(3.0, host="elsewhere", process="q")], KEPT),
    ([made(), left(), erased(), got(3.0, exists=False, erased_at=2, erased_time=2.5)], GONE),
    ([made(), left(), committed(ids=("id",)), Restored(at=2.7, since=2.0, least=2**32), got(3.0)], LOST),
    ([made(), was_committed(3), got(host="elsewhere", process="q", at_least=2)], KEPT),
    ([made(), saw(SAID)], KEPT),
    ([made(), saw(ended=True)], KEPT),
    ([got(3.0, version=3), got(4.0, version=2, status="degraded")], KEPT),
    ([got(3.0, version=3, at=5.0, session=""), got(4.0, version=2)], KEPT),  # it began before the other was over
    ([committed(2.5, 3), got(12.4)], KEPT),
    ([committed(2.5, 3), got(32.4, status="stale")], KEPT),
    ([made(), erased(), deleted(), got(3.0, SAID, process="q")], GONE),  # another process' memory, for `near_keep`
    ([made(), erased(), deleted(), Evicted(at=2.7, region="r", user="ana"), got(7.0, SAID, process="q")], GONE),
    ([made(), erased(), deleted(cleared=frozenset()), got(7.0, SAID, process="q")], GONE),
    ([made(base=2), erased(), deleted(), got(3.0, SAID)], KEPT),  # said in knowledge of the deletion
    ([made(refusable=True), left(), Drained(at=9.0, host="h", waiting=0, dead=frozenset({"id"}))], LOST),
    ([made(base=1), committed(erased_at=2, ids=("id",), dropped=("id",))], KEPT),
    ([asked(1.0, 2.0), asked(1.1, 2.0), asked(2.1, 3.0)], KEPT),  # a load and a refresh
    ([asked(1.0, 2.0), asked(1.1, 2.0, at_least=2), asked(1.2, 2.0, at_least=3)], KEPT),
]


@pytest.mark.parametrize(
    ("check", "events", "final"),
    [(check, events, final) for check, cases in BROKEN.items() for events, final in cases],
)
def test_a_check_finds_what_it_is_for(check: str, events: Sequence[Event], final: dict[str, Snapshot]) -> None:
    assert broken(events, final) == {check}


@pytest.mark.parametrize(("events", "final"), SOUND)
def test_what_is_allowed_breaks_nothing(events: Sequence[Event], final: dict[str, Snapshot]) -> None:
    assert broken(events, final) == set()


def test_every_check_can_fail() -> None:
    assert {check.__name__ for checks in PROMISES.values() for check in checks} == set(BROKEN)
