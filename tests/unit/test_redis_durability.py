"""Which Redis may hold what was said."""

from collections.abc import Mapping

import pytest

from edgememory.outbox.redis import unfit

GOOD = {
    "maxmemory": "0",
    "maxmemory-policy": "noeviction",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
}


@pytest.mark.parametrize("changed", [{}, {"maxmemory": "1048576"}, {"maxmemory-policy": "allkeys-lru"}], ids=str)
@pytest.mark.parametrize("assume_durable", [True, False])
def test_one_that_evicts_nothing_and_writes_before_it_answers(changed: Mapping[str, str], assume_durable: bool) -> None:
    assert unfit(GOOD | changed, assume_durable=assume_durable) is None


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"])
@pytest.mark.parametrize("assume_durable", [True, False])
def test_one_that_may_evict_is_refused_whatever_is_assumed(policy: str, assume_durable: bool) -> None:
    why = unfit(GOOD | {"maxmemory": "1", "maxmemory-policy": policy}, assume_durable=assume_durable)
    assert why is not None
    assert f"maxmemory-policy is {policy}" in why


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"appendonly": "no"}, "appendonly is no"),
        ({"appendfsync": "everysec"}, "appendfsync is everysec"),
        ({"appendfsync": "no"}, "appendfsync is no"),
        ({"no-appendfsync-on-rewrite": "yes"}, "no-appendfsync-on-rewrite is yes"),
    ],
)
def test_one_whose_machine_may_forget_is_refused_unless_somebody_says_it_does_not(
    changed: Mapping[str, str], told: str
) -> None:
    why = unfit(GOOD | changed, assume_durable=False)
    assert why is not None
    assert told in why
    assert unfit(GOOD | changed, assume_durable=True) is None


def test_one_that_does_not_say_is_refused_unless_somebody_does() -> None:
    why = unfit(None, assume_durable=False)
    assert why is not None
    assert "assume_durable = true" in why
    assert unfit(None, assume_durable=True) is None
