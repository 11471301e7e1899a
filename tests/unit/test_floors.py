"""Floors: they rise, they outlive entries, and the least recently used go first, unless a session is open."""

from edgememory.floors import Floor, Floors
from edgememory.models import Snapshot, UserKey

ANNA, BERT, CARL = (UserKey("clinic", name) for name in ("anna", "bert", "carl"))


def at(version: int, *, erased_at: int = 0) -> Snapshot:
    return Snapshot(version=version, exists=True, erased_at=erased_at)


def test_a_floor_never_sinks() -> None:
    floors = Floors(lambda user: False)
    assert floors.of(ANNA) == Floor()
    floors.raise_to(ANNA, at(5, erased_at=3))
    floors.raise_to(ANNA, at(4))
    assert floors.of(ANNA) == Floor(5, 3, 0.0)


def test_the_least_recently_raised_goes_first() -> None:
    floors = Floors(lambda user: False, users=2)
    for user in (ANNA, BERT, ANNA, CARL):
        floors.raise_to(user, at(1))
    assert [floors.of(user).version for user in (ANNA, BERT, CARL)] == [1, 0, 1]


def test_the_floor_of_an_open_session_stays() -> None:
    floors = Floors(lambda user: user == ANNA, users=1)
    for user in (ANNA, BERT, CARL):
        floors.raise_to(user, at(1))
    assert floors.of(ANNA).version == 1
