"""What two texts must share to find each other, in each language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgememory.recall.irregular import IRREGULAR
from edgememory.recall.language import Language
from edgememory.recall.words import forms, terms, words


@pytest.mark.parametrize(
    ("language", "said", "asked"),
    [
        ("english", "I moved to Lisbon", "moving"),
        ("english", "We went home", "go"),
        ("english", "She bought two knives", "buy knife"),
        ("german", "Ich habe zwei Häuser gekauft", "Haus"),
        ("french", "Mes filles mangeaient des pommes", "fille pomme"),
        ("spanish", "Tengo dos hermanas y muchos gatos", "hermana gato"),
        ("portuguese", "Gosto muito de casas grandes", "casa grande"),
        ("italian", "Ho due sorelle e molti gatti", "sorella gatto"),
        ("simple", "私の犬はポチです", "犬"),
        ("simple", "東京都に住んでいます", "東京"),
        ("simple", "我住在北京", "北京"),
        ("simple", "我的猫叫咪咪", "猫"),
    ],
)
def test_another_form_of_a_word_finds_it(language: Language, said: str, asked: str) -> None:
    wanted = terms(asked, language)
    assert wanted
    assert set(wanted) <= set(terms(said, language))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("english", "where are you"),
        ("german", "wo ist das"),
        ("french", "est ce que vous"),
        ("spanish", "donde está el"),
        ("portuguese", "e o que você"),
        ("italian", "dove sei tu"),
    ],
)
def test_stop_words_find_nothing(language: Language, text: str) -> None:
    assert terms(text, language) == []


def test_punctuation_and_case_are_no_part_of_a_word() -> None:
    assert words("Don't—worry: RE/MAX, v1.2 <b>Café</b>") == [
        "don",
        "t",
        "worry",
        "re",
        "max",
        "v1",
        "2",
        *["b", "café", "b"],
    ]


@pytest.mark.parametrize("word", ["हिन्दी", "தமிழ்", "مُحَمَّد", "שָׁלוֹם", "می\u200cروم", "q\u0303"])
def test_a_word_keeps_what_is_written_over_and_under_its_letters(word: str) -> None:
    assert words(f"({word}, {word}") == [word, word]


@pytest.mark.parametrize("between", ["❤️", "👩\u200d👧", "👍🏽", "\xb4", "“", "—", "\uff1f", "؟", "।", "\u200b"])
def test_what_is_no_letter_leaves_nothing_with_a_word(between: str) -> None:
    assert words(f"{between}one{between}2{between} {between}") == ["one", "2"]


@pytest.mark.parametrize(("one", "other"), [("İzmir", "izmir"), ("ΜΕΓΆΛΟΣ", "μεγάλοσ"), ("μεγάλος", "ΜΕΓΆΛΟσ")])
def test_a_word_has_one_lower_case(one: str, other: str) -> None:
    assert words(one) == words(other)
    assert len(words(one)) == 1


def test_a_middle_dot_parts_two_words() -> None:
    assert words("ジョン・スミス") == ["ジョ", "ョン", "スミ", "ミス"]


def test_forms_are_looked_for_together() -> None:
    assert set(forms("went", "english")) == {"go", "went", "gone"}
    assert forms("went", "german") == ("went",)


def test_no_irregular_form_is_another_words_base() -> None:
    assert not set(IRREGULAR) & set(IRREGULAR.values())


@given(st.text(), st.sampled_from(["english", "german", "simple"]))
def test_any_text_has_words(text: str, language: Language) -> None:
    assert all(terms(text, language))
    assert all(len(word) <= 64 and word == word.lower() for word in words(text))


def test_what_is_asked_for_is_not_kept_for_ever() -> None:
    bound = forms.cache_parameters()["maxsize"]
    assert bound is not None
    assert bound <= 100_000
