import pytest

from edgememory.errors import ConfigError
from edgememory.freshness import TOMBSTONE_KEEP, Policy, Verdict, decide, fresh_for, keep_for, newer
from edgememory.models import Entry, Snapshot
from edgememory.testing.examples import entry_at, tombstone_at

POLICY = Policy(ttl=10, stale_while_revalidate=20, stale_if_error=50, missing_ttl=3, near_ttl=1, near_keep=2)
SYNCED = 1000.0


def present() -> Entry:
    return entry_at(5, synced_at=SYNCED)


def absent() -> Entry:
    return entry_at(5, synced_at=SYNCED, exists=False)


def deleted() -> Entry:
    return Entry(snapshot=Snapshot(version=5, exists=False, erased_at=5, erased_time=SYNCED), synced_at=SYNCED)


def reborn() -> Entry:
    return Entry(snapshot=Snapshot(version=5, exists=True, erased_at=4, erased_time=SYNCED), synced_at=SYNCED)


@pytest.mark.parametrize(
    ("entry", "age", "verdict"),
    [
        (present(), -5.0, Verdict.FRESH),
        (present(), 0.0, Verdict.FRESH),
        (present(), 9.999, Verdict.FRESH),
        (present(), 10.0, Verdict.STALE),
        (present(), 29.999, Verdict.STALE),
        (present(), 30.0, Verdict.EXPIRED),
        (present(), 49.999, Verdict.EXPIRED),
        (present(), 50.0, Verdict.GONE),
        (absent(), 2.999, Verdict.FRESH),
        (absent(), 3.0, Verdict.EXPIRED),
        (absent(), 49.999, Verdict.EXPIRED),
        (absent(), 50.0, Verdict.GONE),
        (deleted(), 2.999, Verdict.FRESH),
        (deleted(), 3.0, Verdict.STALE),
        (deleted(), 29.999, Verdict.STALE),
        (deleted(), 30.0, Verdict.EXPIRED),
        (deleted(), 1e9, Verdict.EXPIRED),
        (reborn(), 10.0, Verdict.STALE),
        (reborn(), 30.0, Verdict.EXPIRED),
        (reborn(), 50.0, Verdict.GONE),
    ],
)
def test_age_decides_and_bounds_are_exclusive(entry: Entry, age: float, verdict: Verdict) -> None:
    assert decide(entry, POLICY, now=SYNCED + age) is verdict
    assert decide(entry, POLICY, now=SYNCED + age, at_least=5) is verdict


@pytest.mark.parametrize("entry", [present(), absent(), deleted()])
@pytest.mark.parametrize("age", [0.0, 20.0, 40.0, 60.0])
def test_an_entry_below_the_version_asked_for_is_behind_at_any_age(entry: Entry, age: float) -> None:
    assert decide(entry, POLICY, now=SYNCED + age, at_least=6) is Verdict.BEHIND


def test_being_tentative_makes_an_entry_no_younger() -> None:
    entry = entry_at(5, synced_at=SYNCED, tentative_at=SYNCED + 100)
    assert decide(entry, POLICY, now=SYNCED + 10) is Verdict.STALE


def test_freshness_has_an_end() -> None:
    assert fresh_for(present(), POLICY, now=SYNCED + 4) == 6
    assert fresh_for(absent(), POLICY, now=SYNCED + 4) == -1


def test_the_newer_of_two_has_the_larger_order() -> None:
    clean, tentative, next_version = entry_at(5), entry_at(5, tentative_at=1.0), entry_at(6)
    assert newer(clean, tentative) is tentative
    assert newer(tentative, clean) is tentative
    assert newer(tentative, next_version) is next_version
    assert newer(clean, entry_at(5)) is clean
    assert newer(None, clean) is clean
    assert newer(clean, None) is clean
    assert newer(None, None) is None


def test_caches_keep_a_deletion_longest_and_an_absence_shortest() -> None:
    assert keep_for(present(), POLICY) == 50
    assert keep_for(reborn(), POLICY) == 50
    assert keep_for(absent(), POLICY) == 3
    assert keep_for(tombstone_at(5), POLICY) == TOMBSTONE_KEEP
    assert keep_for(present(), Policy()) < TOMBSTONE_KEEP


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", Policy.__struct_fields__)
def test_a_policy_without_sense_is_refused(name: str, seconds: float) -> None:
    with pytest.raises(ConfigError, match=name):
        Policy(**{name: seconds})


def test_process_memory_keeps_an_entry_until_it_is_to_be_confirmed() -> None:
    with pytest.raises(ConfigError, match="near_keep"):
        Policy(near_ttl=60, near_keep=59)
