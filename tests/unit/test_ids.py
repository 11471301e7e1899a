from uuid import UUID

from edgememory.ids import next_id

FUTURE = "ffff0000-0000-7fff-bfff-ffffffffffff"


def test_an_id_is_a_uuid7_in_its_canonical_form() -> None:
    for id in (next_id(), next_id(FUTURE)):
        assert UUID(id).version == 7
        assert str(UUID(id)) == id


def test_ids_grow() -> None:
    ids = [next_id() for _ in range(10_000)]
    assert ids == sorted(set(ids))


def test_an_id_is_above_what_its_session_has_seen_even_if_that_was_made_by_a_clock_ahead() -> None:
    above = FUTURE
    for _ in range(1000):
        id = next_id(above)
        assert id > above
        above = id


def test_a_clock_ahead_does_not_carry_ids_away() -> None:
    assert next_id(FUTURE)[:13] == "ffff0000-0001"
    assert next_id("00000000-0000-7000-8000-000000000000") < next_id()


def test_what_is_no_id_stops_nobody() -> None:
    assert UUID(next_id("no uuid at all")).version == 7


def test_a_millisecond_carries_over() -> None:
    assert next_id("7fffffff-ffff-7fff-bfff-ffffffffffff")[:13] == "80000000-0000"
