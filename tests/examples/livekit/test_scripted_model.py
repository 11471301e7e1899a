"""The example's model makes nothing up: what it says of the caller stands in its prompt."""

import asyncio
import json

import pytest
from livekit.agents.llm import ChatContext, ChatMessage, FunctionCallOutput, FunctionToolCall

from edgememory import EdgeMemory
from offline.scripted_model import reply


def _block(*facts: str, name: str | None = None, heard: str | None = None) -> str:
    """What a second call of somebody is told, of whom this is known."""

    async def block() -> str:
        async with EdgeMemory.in_memory() as memory:
            async with memory.session("caller") as session:
                session.set_name(name)
                for fact in facts:
                    session.remember(fact)
                session.add_message("user", heard or "")
            async with memory.session("caller") as session:
                return session.context()

    return asyncio.run(block())


def _reply(*said: str, known: str = "") -> str | FunctionToolCall:
    """The prompt as the agent makes it: the block just before what was said last."""
    prompt = ChatContext.empty()
    prompt.add_message(role="system", content="Take calls.")
    for text in said[:-1]:
        prompt.add_message(role="user", content=text)
    if known:
        prompt.add_message(role="user", content=known)
    for text in said[-1:]:
        prompt.add_message(role="user", content=text)
    return reply(prompt.items)


def test_nobody_is_known_without_memory() -> None:
    assert _reply() == "Hello, who is calling?"
    assert _reply("What am I allergic to?") == "You have not told me."


@pytest.mark.parametrize("name", ["Anna", "Bob"])
def test_a_caller_is_greeted_by_the_name_in_the_block(name: str) -> None:
    assert _reply(known=_block(name=name)) == f"Welcome back, {name}."
    assert str(_reply(known=_block("Lives in Rome", name=name))).startswith(
        f"Welcome back, {name}. I have noted: Lives"
    )


def test_a_question_is_answered_by_the_fact_that_shares_its_words() -> None:
    known = _block("Lives in Rome", "Is allergic to eggs", "Works at the zoo")
    assert _reply("Hello", "What am I allergic to?", known=known) == "You told me: Is allergic to eggs."
    assert _reply("where do i live", known=known) == "You told me: Lives in Rome."
    assert _reply("Who is my dentist?", known=known) == "You have not told me."


def test_where_no_fact_does_it_is_answered_by_what_was_said() -> None:
    known = _block("Lives in Rome", heard="my daughter plays the cello")
    assert _reply("what does my daughter play", known=known) == "You told me: my daughter plays the cello."


def test_what_it_is_asked_to_remember_goes_to_the_tool() -> None:
    call = _reply("Please remember that I like the window.")
    assert isinstance(call, FunctionToolCall)
    assert (call.name, json.loads(call.arguments)) == ("remember", {"fact": "I like the window"})
    done = FunctionCallOutput(name="remember", call_id=call.call_id, output="Remembered: I like it", is_error=False)
    assert reply([ChatMessage(role="user", content=["..."]), done]) == "Remembered: I like it."
