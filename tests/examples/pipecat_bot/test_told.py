"""What the page is told is what memory says: where, how long, how old, and what was not forgotten."""

from datetime import UTC, datetime

import pytest

from edgememory import EdgeMemory, StoreUnavailableError
from edgememory.models import Cleared, Receipt
from edgememory.walk import NOTHING
from voicebot.providers import chosen
from voicebot.told import aged, error_message, found, memory_message, place_of, receipt_message, shown, talks

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tier", "place"),
    [
        ("memory", "process"),
        ("host", "host"),
        ("redis", "edge"),
        ("workers", "edge"),
        ("upstash", "edge"),
        ("replica", "replica"),
        ("origin", "Geneva"),
        ("", ""),
    ],
)
def test_each_tier_has_a_place(tier: str, place: str) -> None:
    assert place_of(tier) == place


@pytest.mark.parametrize(("seconds", "words"), [(0.00042, "0.4\xa0ms"), (0.0712, "71.2\xa0ms"), (0.5, "500\xa0ms")])
def test_short_times(seconds: float, words: str) -> None:
    assert shown(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0.4\xa0s"), (119.9, "119.9\xa0s"), (120, "2\xa0min"), (7200, "2\xa0h"), (172800, "2\xa0d")],
)
def test_long_times(seconds: float, words: str) -> None:
    assert aged(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, ""), (1, "The last words of one conversation."), (2, "The last words of 2 conversations.")],
)
def test_conversations(count: int, words: str) -> None:
    assert talks(count) == words


async def test_what_is_remembered() -> None:
    async with EdgeMemory.in_memory() as memory, memory.session("anna") as session:
        session.set_name("Anna")
        session.remember("Lives in Boston")
        told = memory_message(session, chosen({}), opened_in=0.012, waited=0.0004, origin_is_here=False)
    assert told["name"] == "Anna"
    assert told["facts"] == ["Lives in Boston"]
    assert told["tier"] == "Geneva"
    assert told["found"] == ["Found in 12.0\xa0ms: fresh, 0.0\xa0s old.", "The last reply waited 0.4\xa0ms for it."]


async def test_an_anonymous_call_is_no_outage() -> None:
    async with EdgeMemory.in_memory() as memory, memory.session(None) as session:
        told = memory_message(session, chosen({}), opened_in=0, waited=0, origin_is_here=True)
    assert told["found"] == [
        "Nobody said who calls: nothing is looked up or kept.",
        "Geneva stands for the origin: here, a Postgres on this machine.",
    ]


def test_an_outage_is_said() -> None:
    assert found(NOTHING, 0.5) == "Nothing answered within 500\xa0ms: the call goes on without memory."


def test_a_receipt_names_what_was_not_cleared() -> None:
    stores = (Cleared("origin", True, NOON), Cleared("redis", False, error="it does not answer"))
    told = receipt_message(Receipt(version=2, stores=stores, dropped=0))
    assert told["summary"] == "Not forgotten yet in: redis."
    assert told["stores"] == [
        {"store": "origin", "outcome": "cleared by 12:00:00 UTC"},
        {"store": "redis", "outcome": "it does not answer"},
    ]


def test_a_deletion_that_failed_is_said() -> None:
    told = error_message(StoreUnavailableError("it does not answer", store="origin", operation="delete"))
    assert str(told["summary"]).startswith("You are not forgotten: ")
