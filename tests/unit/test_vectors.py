"""Vectors of one byte a dimension say what the whole ones say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgememory import codec
from edgememory.models import Vectors
from edgememory.recall.vectors import MOST_DIMENSIONS, NEAREST, quantised, similarities
from edgememory.testing.examples import entry_at

parts = st.floats(-1, 1, width=32)


@given(st.lists(st.tuples(parts, parts), min_size=16, max_size=64))
def test_a_cosine_is_nearly_right(pairs: list[tuple[float, float]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    lengths = math.hypot(*one) * math.hypot(*other)
    small = quantised(other)
    if lengths < 1e-3 or small is None:
        return
    exact = sum(a * b for a, b in pairs) / lengths
    found = similarities(Vectors("m", {"id": small}), one).get("id", 0.0)
    assert found == pytest.approx(max(exact, 0.0), abs=0.04)


@pytest.mark.parametrize("vector", [[], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [1.0] * (MOST_DIMENSIONS + 1)])
def test_what_has_no_direction_is_near_nothing(vector: list[float]) -> None:
    assert quantised(vector) is None
    assert similarities(Vectors("m", {"id": bytes(2)}), vector) == {}


def test_only_the_nearest_are_near() -> None:
    held = {str(number): quantised([1.0, number / 10]) or b"" for number in range(2 * NEAREST)}
    assert list(similarities(Vectors("m", held), [1.0, 0.0])) == [str(number) for number in range(NEAREST)]


def test_vectors_of_another_length_are_not_compared() -> None:
    assert similarities(Vectors("m", {"id": bytes(3)}), [1.0, 0.0]) == {}


def test_an_entry_carries_them() -> None:
    entry = replace(entry_at(1), vectors=Vectors("m", {"id": b"\x7f\x80"}))
    assert codec.decode(codec.encode(entry)) == entry
