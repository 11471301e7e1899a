"""The embedder for tests does what tests can rely on."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgememory.recall.embedder import Vector
from edgememory.testing.embedder import HashEmbedder

pytestmark = pytest.mark.anyio


def cosine(one: Vector, other: Vector) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


async def vectors(*texts: str, dimensions: int = 64) -> list[Vector]:
    return list(await HashEmbedder(dimensions).embed(texts))


async def test_texts_that_share_words_are_near() -> None:
    query, near, far = await vectors("Where does Ann live?", "ann lives where? Ann does live!", "My dog eats cheese")
    assert cosine(query, near) > 0.7
    assert abs(cosine(query, far)) < 0.4


async def test_the_more_words_are_shared_the_nearer() -> None:
    whole, half, none = await vectors("red green blue grey", "red green pink teal", "one two three four")
    [query] = await vectors("Blue, GREY, green: red!")
    assert cosine(query, whole) == pytest.approx(1)
    assert cosine(query, whole) > cosine(query, half) > cosine(query, none)


async def test_a_vector_is_the_same_everywhere() -> None:
    [vector] = await vectors("Likes tea", dimensions=4)
    assert vector == pytest.approx([0.79315, 0.44, 0.13316, -0.39947], abs=1e-4)


async def test_the_name_of_the_model_tells_its_length() -> None:
    assert (HashEmbedder().model, HashEmbedder().dimensions, HashEmbedder().local) == ("hash-64", 64, True)
    assert HashEmbedder(8).model == "hash-8"


@given(
    texts=st.lists(st.text(st.one_of(st.characters(), st.characters(categories=["Cs"]))), max_size=5),
    dimensions=st.integers(1, 70),
)
async def test_every_text_has_a_vector_of_length_one(texts: list[str], dimensions: int) -> None:
    found = await vectors(*texts, dimensions=dimensions)
    assert [len(vector) for vector in found] == [dimensions] * len(texts)
    assert all(math.isclose(math.hypot(*vector), 1) for vector in found)


@pytest.mark.parametrize("text", ["", " ", "?!", "\0", "\ud800"])
async def test_a_text_without_words_has_a_vector_too(text: str) -> None:
    [vector] = await vectors(text)
    assert math.hypot(*vector) == pytest.approx(1)


async def test_words_that_cancel_each_other_out_have_a_vector_too() -> None:
    found = await vectors(*(f"{one} {other}" for one in range(40) for other in range(40)), dimensions=1)
    assert {abs(vector[0]) for vector in found} == {1.0}
