"""The scripted model answers from what it is shown, and from nothing else."""

import pytest

from voicebot.rules import AGAIN, MORE, NEWCOMER, UNKNOWN, Call, answer

BLOCK = """<user_memory>
What is known about this user.
Facts:
- [2026-03-01] Is called Anne
- [2026-03-02] Lives in Boston
- [2026-03-02] Likes the cello
- [2026-03-02] Is called Anna
The last messages:
- [2026-03-02] user: i live in paris
</user_memory>"""
NAMED = "<user_memory>\nAbout the user:\n- Name: Ben\n</user_memory>"
ABOUT_NOBODY = "<user_memory>\nThe last messages:\n- [2026-03-02] user: hello\n</user_memory>"
KEPT = '"Remembered: Lives in Rome"'

Message = dict[str, object]
SYSTEM: Message = {"role": "system", "content": "You are a bot."}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def tool(content: str) -> Message:
    return {"role": "tool", "content": content}


CALLED: Message = {"role": "assistant", "tool_calls": []}


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([SYSTEM], NEWCOMER),
        ([SYSTEM, user(BLOCK)], "Welcome back, Anna! I remember that you live in Boston and you like the cello."),
        ([SYSTEM, user(NAMED)], "Welcome back, Ben!"),
        ([SYSTEM, user(ABOUT_NOBODY)], AGAIN),
        ([user(BLOCK), user("what do you remember about me")], "I remember that your name is Anna, you live in Boston and you like the cello."),  # noqa: E501 - as it is said
        ([user("what do you remember")], UNKNOWN),
        ([user("the weather is fine")], MORE),
        ([user(BLOCK), user("goodbye")], "Goodbye, Anna."),
        ([user("bye")], "Goodbye."),
        ([user("forget that i live in rome")], "I did not know that."),
        ([user("x"), CALLED, tool(KEPT)], "Thank you. I will remember that you live in Rome."),
        ([user("x"), CALLED, tool('"Remembered: Is called Eva"')], "Nice to meet you, Eva."),
        ([user("x"), CALLED, tool(KEPT), CALLED, tool('"Remembered: Is called Eva"')], "Nice to meet you, Eva. I will remember that you live in Rome."),  # noqa: E501 - as it is said
        ([user("x"), CALLED, tool(KEPT), CALLED, tool("IN_PROGRESS")], ""),
        ([user("x"), CALLED, tool('"Forgotten: Lives in Rome"')], "Forgotten: Lives in Rome"),
        ([user("x"), CALLED, tool(KEPT), user("y"), CALLED, tool('"Forgotten: Z"')], "Forgotten: Z"),
        ([{"role": "user", "content": [{"type": "text", "text": "bye"}]}], "Goodbye."),
    ],
)  # fmt: skip
def test_it_says(messages: list[Message], said: str) -> None:
    assert answer(messages) == said


@pytest.mark.parametrize(
    ("said", "calls"),
    [
        ("my name is anna and i live in new york", ["Is called Anna", "Lives in New York"]),
        ("Hello. My name is Anna.", ["Is called Anna"]),
        ("I moved to Lisbon, but I love music", ["Lives in Lisbon", "Likes music"]),
    ],
)
def test_it_keeps_what_a_friend_would(said: str, calls: list[str]) -> None:
    assert answer([user(said)]) == tuple(Call("remember", {"fact": fact}) for fact in calls)


def test_it_forgets_a_fact_as_memory_words_it() -> None:
    assert answer([user(BLOCK), user("please forget that i live in boston")]) == (
        Call("forget", {"fact": "Lives in Boston"}),
    )
