"""The breaker, by examples: it is told the time."""

from edgememory.breaker import LONGEST_PAUSE, Breaker


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(3):
        breaker.failed(at)
    return breaker


def test_it_opens_at_the_third_failure_in_a_row() -> None:
    breaker = Breaker()
    breaker.failed(0)
    breaker.failed(0)
    assert breaker.allows(0)
    breaker.failed(0)
    assert not breaker.allows(0.999)


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = Breaker()
    for failed in (True, True, False, True, True):
        breaker.failed(0) if failed else breaker.succeeded()
    assert breaker.allows(0)


def test_after_a_pause_one_request_may_try() -> None:
    breaker = opened(at=10)
    assert not breaker.allows(10.9)
    assert breaker.allows(11)
    assert not breaker.allows(11)


def test_a_trial_that_never_reports_makes_room_for_another() -> None:
    breaker = opened()
    assert breaker.allows(1)
    assert not breaker.allows(1.9)
    assert breaker.allows(2)


def test_pauses_double_up_to_the_longest() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(7):
        now = breaker.blocked_until
        assert breaker.allows(now)
        breaker.failed(now)
        pauses.append(breaker.blocked_until - now)
    assert pauses == [2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_one_success_closes_it_and_the_next_pause_is_the_first_again() -> None:
    breaker = opened()
    breaker.failed(1)
    breaker.succeeded()
    assert breaker.allows(1)
    for _ in range(3):
        breaker.failed(5)
    assert breaker.blocked_until == 6
