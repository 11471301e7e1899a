"""What is refused at the door, and what is just small enough."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import pytest

from edgememory import EdgeMemory, InvalidInputError, Session
from tests.unit.hosts import World, anyio_backend, memory

__all__ = ["anyio_backend", "memory"]


LONG = "x" * 513
WRONG_IDS: dict[str, tuple[object, str]] = {
    "empty": ("", "empty"),
    "NUL": ("a\0b", "NUL"),
    "long": (LONG, "513 bytes.* 512"),
    "long in bytes": ("é" * 257, "514 bytes.* 512"),
    "surrogate": ("\ud800", "surrogate"),
    "bytes": (b"anna", "string, not bytes"),
    "number": (42, "string, not int"),
    "none": (None, "string, not NoneType"),
}


@pytest.mark.parametrize(("id", "told"), WRONG_IDS.values(), ids=WRONG_IDS.keys())
async def test_a_wrong_id_is_refused_at_the_door(memory: EdgeMemory, id: object, told: str) -> None:
    wrong = cast(str, id)
    if id is not None:  # a caller who is not known yet
        with pytest.raises(InvalidInputError, match=f"user_id .*{told}"):
            memory.session(wrong)
    for look_up in (memory.get_profile, memory.get_messages, memory.warm, memory.delete_user):
        with pytest.raises(InvalidInputError, match=f"user_id .*{told}"):
            await look_up(wrong)
    if id is not None:
        with pytest.raises(InvalidInputError, match=f"session_id .*{told}"):
            memory.session("anna", session_id=wrong)
        with pytest.raises(InvalidInputError, match=f"agent_id .*{told}"):
            memory.session("anna", agent_id=wrong)


@pytest.mark.parametrize("seconds", [None, "1", float("nan")])
async def test_a_wrong_timeout_is_refused_at_the_door(memory: EdgeMemory, seconds: object) -> None:
    wrong = cast(float, seconds)
    for parameter in ("timeout", "leave_timeout"):
        with pytest.raises(InvalidInputError, match=f"^{parameter} must be a number of seconds"):
            memory.session("anna", **{parameter: wrong})
    for call in (
        memory.warm("anna", timeout=wrong),
        memory.get_profile("anna", timeout=wrong),
        memory.flush(timeout=wrong),
    ):
        with pytest.raises(InvalidInputError, match="timeout must be a number of seconds"):
            await call


async def test_a_wrong_version_is_refused_at_the_door(memory: EdgeMemory) -> None:
    with pytest.raises(InvalidInputError, match="at_least must be a version"):
        memory.session("anna", at_least=cast(int, "5"))


Call = Callable[[Session], None]
WRONG_CALLS: dict[str, tuple[Call, str]] = {
    "message too long": (lambda s: s.add_message("user", "x" * (1024**2 + 1)), "text is 1048577 .* 1048576"),
    "message too long in bytes": (lambda s: s.add_message("user", "é" * (1024**2 // 2 + 1)), "text .* 1048576"),
    "message with NUL": (lambda s: s.add_message("user", "a\0"), "text .*NUL"),
    "message with a surrogate": (lambda s: s.add_message("user", "\udfff"), "text .*surrogate"),
    "message that is none": (lambda s: s.add_message("user", cast(str, None)), "text must be a string"),
    "role": (lambda s: s.add_message(cast(Any, "owner"), "x"), "role must be one of user, assistant"),
    "no time zone": (lambda s: s.add_message("user", "x", at=datetime(2026, 1, 1)), "at has no time zone"),  # noqa: DTZ001
    "interrupted": (
        lambda s: s.add_message("user", "x", interrupted=cast(bool, 1)),
        "interrupted must be True or False",
    ),
    "metadata NaN": (lambda s: s.add_message("user", "x", metadata={"a": float("nan")}), r"metadata\['a'\].*finite"),
    "metadata infinite": (lambda s: s.add_message("user", "x", metadata={"a": float("-inf")}), "finite"),
    "metadata nested": (lambda s: s.add_message("user", "x", metadata=cast(Any, {"a": {}})), "not dict"),
    "metadata too big": (lambda s: s.add_message("user", "x", metadata={"a": "x" * 4090}), "metadata .* 4096"),
    "metadata key": (lambda s: s.add_message("user", "x", metadata={"": 1}), "metadata key is empty"),
    "metadata integer": (lambda s: s.add_message("user", "x", metadata={"a": 2**63}), "64 bits"),
    "fact too long": (lambda s: s.remember("x" * 1025), "text is 1025 .* 1024"),
    "fact empty": (lambda s: s.remember(""), "text is empty"),
    "replaces empty": (lambda s: s.remember("x", replaces=""), "replaces is empty"),
    "importance": (lambda s: s.remember("x", importance=11), "importance .* 0 to 10"),
    "importance true": (lambda s: s.remember("x", importance=True), "importance .* 0 to 10"),
    "forget empty": (lambda s: s.forget(""), "text is empty"),
    "name empty": (lambda s: s.set_name(""), "name is empty"),
    "name too long": (lambda s: s.set_name(LONG), "name is 513 .* 512"),
    "preference name": (lambda s: s.set_preference("x" * 129, 1), "name is 129 .* 128"),
    "preference text": (lambda s: s.set_preference("p", "x" * 1025), "value is 1025 .* 1024"),
    "preference NaN": (lambda s: s.set_preference("p", float("nan")), "value must be a finite"),
    "preference infinite": (lambda s: s.set_preference("p", float("inf")), "value must be a finite"),
    "preference integer": (lambda s: s.set_preference("p", -(2**63) - 1), "64 bits"),
    "preference list": (lambda s: s.set_preference("p", cast(Any, [])), "not list"),
    "summary empty": (lambda s: s.add_summary(""), "text is empty"),
    "summary too long": (lambda s: s.add_summary("x" * 8193), "text is 8193 .* 8192"),
}


@pytest.mark.parametrize(("call", "told"), WRONG_CALLS.values(), ids=WRONG_CALLS.keys())
async def test_input_over_a_limit_is_refused_and_changes_nothing(memory: EdgeMemory, call: Call, told: str) -> None:
    async with memory.session("anna") as session:
        before = session.snapshot
        with pytest.raises(InvalidInputError, match=told):
            call(session)
        assert session.snapshot == before
    assert memory.counters.changes_made == 0


RIGHT_CALLS: dict[str, Call] = {
    "message": lambda s: s.add_message("tool", "x" * 1024**2),
    "metadata": lambda s: s.add_message("system", "x", metadata={"a": "x" * 4080}),
    "fact": lambda s: s.remember("x" * 1024, importance=0),
    "name": lambda s: s.set_name("é" * 256),
    "preference": lambda s: s.set_preference("x" * 128, "x" * 1024),
    "integers": lambda s: s.set_preference("p", -(2**63)),
    "empty preference": lambda s: s.set_preference("p", ""),
    "summary": lambda s: s.add_summary("x" * 8192),
}


@pytest.mark.parametrize("call", RIGHT_CALLS.values(), ids=RIGHT_CALLS.keys())
async def test_input_at_its_limit_is_taken_and_the_origin_takes_it_too(memory: EdgeMemory, call: Call) -> None:
    async with memory.session("anna") as session:
        call(session)
        await session.committed()
    assert memory.counters.changes_rejected == 0


async def test_the_257th_preference_is_refused_and_one_can_be_unset_for_another(memory: EdgeMemory) -> None:
    async with memory.session("anna") as session:
        for number in range(256):
            session.set_preference(f"p{number}", number)
        with pytest.raises(InvalidInputError, match="256"):
            session.set_preference("one more", 1)
        session.set_preference("p0", "changed")
        session.set_preference("p1", None)
        session.set_preference("one more", 1)


async def test_a_wrong_namespace_is_refused_at_the_door(anyio_backend: str) -> None:
    for namespace in ("", "x" * 65, "a\0"):
        with pytest.raises(InvalidInputError, match="namespace"):
            World().host(namespace=namespace)
