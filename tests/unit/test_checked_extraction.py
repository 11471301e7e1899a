"""What of an extractor's words may be remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgememory.extract.checked import MAX_FACTS, MAX_PREFERENCES, checked
from edgememory.extract.extractor import Conversation, Extracted, ExtractedFact, ExtractedPreference
from edgememory.keys import fact_key
from edgememory.limits import LIMITS, check_importance, check_scalar, check_text
from edgememory.models import Role, Scalar
from tests.conversations import conversation

FENCES = ["</user_memory>", "<user_memory>", "</USER_Memory", "</ user_memory >"]
KNOWN = ("Lives in Porto", "Has a dog")


def facts_of(extracted: Extracted, said: Conversation) -> list[str]:
    return [fact.text for fact in checked(extracted, said).facts]


def remembered(text: str, *said: str | tuple[Role, str], known: tuple[str, ...] = (), name: str | None = None) -> bool:
    """Whether a fact with this text passes."""
    extracted = Extracted(facts=(ExtractedFact(text=text),))
    return bool(facts_of(extracted, conversation(*said, known=known, name=name)))


def named(name: str, *said: str | tuple[Role, str], known: str | None = None) -> str | None:
    return checked(Extracted(name=name), conversation(*said, name=known)).name


def test_what_is_sane_passes_unchanged() -> None:
    said = conversation("I moved to Lisbon. Call me Ann, and speak slowly.", known=KNOWN)
    extracted = Extracted(
        facts=(ExtractedFact(text="Lives in Lisbon", importance=8, replaces="Lives in Porto"),),
        preferences=(ExtractedPreference(name="pace", value="slow"),),
        name="Ann",
        summary="Ann told that she has moved to Lisbon.",
    )
    assert checked(extracted, said) == extracted


@pytest.mark.parametrize("text", ["", "  \n", "nul\0", "\ud800", "x" * 1025, "é" * 513, *FENCES])
def test_a_fact_that_breaks_a_rule_is_dropped(text: str) -> None:
    extracted = Extracted(facts=(ExtractedFact(text=text), ExtractedFact(text="  likes tea ")))
    assert facts_of(extracted, conversation()) == ["likes tea"]


def test_a_fact_of_just_the_limit_is_kept() -> None:
    assert remembered("x" * LIMITS.fact)


def test_the_first_facts_are_kept_of_too_many() -> None:
    extracted = Extracted(facts=tuple(ExtractedFact(text=f"fact {number}") for number in range(10_000)))
    assert facts_of(extracted, conversation()) == [f"fact {number}" for number in range(MAX_FACTS)]


def test_what_is_dropped_takes_no_place() -> None:
    bad = [ExtractedFact(text="") for _ in range(100)]
    assert facts_of(Extracted(facts=(*bad, ExtractedFact(text="likes tea"))), conversation()) == ["likes tea"]


@pytest.mark.parametrize(("said", "meant"), [(-1, 0), (-(10**30), 0), (0, 0), (7, 7), (10, 10), (11, 10), (10**30, 10)])
def test_importance_is_brought_into_its_range(said: int, meant: int) -> None:
    [fact] = checked(Extracted(facts=(ExtractedFact(text="x", importance=said),)), conversation()).facts
    assert fact.importance == meant


def test_a_fact_is_said_once() -> None:
    twice = Extracted(facts=(ExtractedFact(text="Likes tea", importance=7), ExtractedFact(text="likes  TEA")))
    assert facts_of(twice, conversation()) == ["Likes tea"]


def test_what_is_known_is_no_news() -> None:
    assert not remembered("lives in  PORTO", known=KNOWN)


def test_what_is_known_may_still_replace_something() -> None:
    extracted = Extracted(facts=(ExtractedFact(text="Has a dog", replaces="Lives in Porto"),))
    assert checked(extracted, conversation(known=KNOWN)) == extracted


def test_nothing_replaces_itself() -> None:
    extracted = Extracted(facts=(ExtractedFact(text="Has a dog", replaces="has a DOG"),))
    assert checked(extracted, conversation(known=KNOWN)).facts == ()


@pytest.mark.parametrize("replaces", ["", "Lives in Rome", "everything", "*", "\ud800", "nul\0", "x" * 10_000, *FENCES])
def test_only_what_is_known_can_be_replaced(replaces: str) -> None:
    extracted = Extracted(facts=(ExtractedFact(text="Has a cat", replaces=replaces),))
    assert checked(extracted, conversation(known=KNOWN)).facts == (ExtractedFact(text="Has a cat"),)


def test_what_is_replaced_is_found_by_its_key() -> None:
    extracted = Extracted(facts=(ExtractedFact(text="Has a cat", replaces=" has a  DOG"),))
    assert checked(extracted, conversation(known=KNOWN)).facts[0].replaces == "has a  DOG"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("nul\0", "x"),
        ("\ud800", "x"),
        ("x" * 129, "x"),
        ("x", "nul\0"),
        ("x", "\ud800"),
        ("x", "y" * 1025),
        ("x", 2**63),
        ("x", float("inf")),
        ("x", float("nan")),
        *((fence, "x") for fence in FENCES),
        *(("x", fence) for fence in FENCES),
    ],
)
def test_a_preference_that_breaks_a_rule_is_dropped(name: str, value: Scalar) -> None:
    extracted = Extracted(preferences=(ExtractedPreference(name=name, value=value),))
    assert checked(extracted, conversation()).preferences == ()


def test_the_first_preferences_are_kept_of_too_many_and_each_once() -> None:
    many = [ExtractedPreference(name=f" p{number // 2} ", value=f" {number} ") for number in range(1000)]
    expected = [ExtractedPreference(name=f"p{number}", value=f"{2 * number}") for number in range(MAX_PREFERENCES)]
    assert list(checked(Extracted(preferences=tuple(many)), conversation()).preferences) == expected


@pytest.mark.parametrize("value", ["", "x", 0, -1, 0.5, True, False, None])
def test_any_scalar_may_be_preferred(value: Scalar) -> None:
    extracted = Extracted(preferences=(ExtractedPreference(name="x", value=value),))
    assert checked(extracted, conversation()) == extracted


@pytest.mark.parametrize("text", ["", " ", "a nul\0", "a \ud800", *(f"a {fence}" for fence in FENCES)])
def test_a_summary_that_breaks_a_rule_is_dropped(text: str) -> None:
    assert checked(Extracted(summary=text), conversation()).summary is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("word " * 2000, ("word " * 1638).strip()),  # 8192 bytes are 1638 words and two letters
        ("a " * 4095 + "é" * 10, ("a " * 4095).strip()),
        ("x" * 9000, "x" * 8192),
        ("漢" * 9000, "漢" * 2730),
        ("x" * 8192 + " y", "x" * 8192),
        ("y " + "x" * 8190 + "!", "y"),
        ("y " + "x" * 8190, "y " + "x" * 8190),
        ("y " + "x" * 8190 + " z", "y " + "x" * 8190),
        ("y " + "x" * 8189 + " z", "y " + "x" * 8189),
    ],
)
def test_a_long_summary_is_cut_at_a_word(text: str, kept: str) -> None:
    assert checked(Extracted(summary=text), conversation()).summary == kept


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Ann", "I'm ann."),
        ("Ann Lee", "My name is Lee, Ann Lee"),
        ("O'Brien", "This is Mr. O\u2019Brien"),
        ("José", "soy JOSE\u0301"),
        ("田中", "田中です"),
        ("민수", "저는 민수입니다"),
    ],
)
def test_a_name_is_what_the_user_said(name: str, said: str) -> None:
    assert named(f" {name} ", said) == name


@pytest.mark.parametrize(
    "name", ["Zelda", "Ann Zelda", "Annie", "", "!!", "Ann\0", "\ud800", "<user_memory", "ann " * 200]
)
def test_any_other_name_is_dropped(name: str) -> None:
    assert named(name, "I am Ann, <user_memory") is None


def test_a_part_of_a_word_is_no_name() -> None:
    assert named("An", "I am Ann") is None


@pytest.mark.parametrize("role", ["assistant", "system", "tool"])
def test_a_name_that_only_others_said_is_not_the_users(role: Role) -> None:
    assert named("Zelda", (role, "Hello Zelda!"), "Hi.") is None


def test_the_name_that_is_known_need_not_be_said() -> None:
    assert named("Ann", "Hi.", known="Ann") == "Ann"
    assert named("Bob", "Hi.", known="Ann") is None


@pytest.mark.parametrize(
    "text",
    [
        "Is married to Zelda",
        "Takes the pills of Zelda Fitzgerald.",
        "Has a dog. It belongs to (Zelda)",
        "Likes Élodie",
        "Has the PIN of ZELDA",
    ],
)
def test_a_fact_about_somebody_of_whom_nobody_spoke_is_dropped(text: str) -> None:
    said = "My dog takes pills."
    assert not remembered(text, said, ("system", text), ("tool", text))
    for heard in (text, ("assistant", text)):
        assert remembered(text, said, heard)
    assert remembered(text, said, name=text)
    assert remembered(text, said, known=(f"It is so: {text}",))


@pytest.mark.parametrize(
    "text",
    [
        "Moved to Lisbon on Friday, the 6th of March",
        "Has a dog. Likes it! Really? Yes",
        'Says "Never again"',
        "The User pays by SMS or IBAN",
        "A friend and I run",
        "likes tea",
    ],
)
def test_words_that_name_nobody_pass(text: str) -> None:
    assert remembered(text, "i moved to lisbon yesterday, never sleep, pay by text, and run")


def test_only_english_is_judged_by_its_capitals() -> None:
    extracted = Extracted(facts=(ExtractedFact(text="Arbeitet in einer Schule"),))
    assert facts_of(extracted, conversation("Ich bin Lehrer", language="german"))
    assert not facts_of(extracted, conversation("Ich bin Lehrer", language="english"))


ANYTHING = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"]), st.sampled_from("<\0 .")), max_size=40)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ANYTHING)
TEXTS = st.one_of(ANYTHING, st.sampled_from([*KNOWN, *FENCES, "x" * 1025, "word " * 2000]))
EXTRACTED = st.builds(
    Extracted,
    facts=st.lists(
        st.builds(ExtractedFact, text=TEXTS, importance=st.integers(), replaces=st.none() | TEXTS), max_size=40
    ).map(tuple),
    preferences=st.lists(st.builds(ExtractedPreference, name=TEXTS, value=SCALARS), max_size=20).map(tuple),
    name=st.none() | TEXTS,
    summary=st.none() | TEXTS,
)


@given(extracted=EXTRACTED, said=st.lists(ANYTHING.filter(lambda text: "\0" not in text), max_size=3))
def test_whatever_is_said_what_passes_can_be_stored(extracted: Extracted, said: list[str]) -> None:
    spoken = conversation(*said, known=KNOWN)
    passed = checked(extracted, spoken)
    for fact in passed.facts:
        check_text("fact", fact.text, LIMITS.fact)
        check_importance(fact.importance)
        assert fact.replaces is None or fact_key(fact.replaces) in map(fact_key, KNOWN)
    for preference in passed.preferences:
        check_text("name", preference.name, LIMITS.preference_name)
        check_scalar("value", preference.value, LIMITS.preference_value)
    if passed.name is not None:
        check_text("name", passed.name, LIMITS.name)
    if passed.summary is not None:
        check_text("summary", passed.summary, LIMITS.summary)
    assert "user_memory>" not in repr(passed)
    assert checked(passed, spoken) == passed
