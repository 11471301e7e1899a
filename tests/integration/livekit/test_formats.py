"""The block in what each provider is sent: data from the user's side, never instructions."""

import pytest
from livekit.agents.llm import ChatContext, FunctionCall, FunctionCallOutput

from edgememory.integrations.livekit.agent import with_block
from edgememory.integrations.livekit.call import BLOCK_ID

FORMATS = ["openai", "openai.responses", "google", "anthropic", "aws", "mistralai"]
BLOCK = "<user_memory>\nHer dog is called Rex\n</user_memory>"


def conversation() -> ChatContext:
    chat_ctx = ChatContext()
    chat_ctx.add_message(role="system", content="Be kind.")
    chat_ctx.add_message(role="assistant", content="Hello, how can I help?")
    chat_ctx.add_message(role="user", content="What is my dog called?")
    return chat_ctx


def tool_step() -> ChatContext:
    chat_ctx = conversation()
    chat_ctx.items.append(FunctionCall(call_id="1", name="look", arguments="{}"))
    chat_ctx.items.append(FunctionCallOutput(call_id="1", name="look", output="Rex", is_error=False))
    return chat_ctx


def greeting() -> ChatContext:
    chat_ctx = ChatContext()
    chat_ctx.add_message(role="system", content="Be kind.")
    chat_ctx.add_message(role="system", content="Greet the caller.")
    return chat_ctx


def holders(sent: object) -> list[dict[str, object]]:
    """Find the innermost messages, of whichever form, that hold the block."""
    found: list[dict[str, object]] = []
    if isinstance(sent, dict):
        inner = [each for value in sent.values() for each in holders(value)]
        if "role" in sent and not inner and BLOCK in str(sent).replace("\\n", "\n"):
            return [sent]
        return inner
    if isinstance(sent, list | tuple):
        return [each for item in sent for each in holders(item)]
    return found


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("before", [conversation, tool_step, greeting], ids=lambda make: make.__name__)
def test_every_provider_is_sent_the_block_once_from_the_user(format: str, before: object) -> None:
    assert callable(before)
    sent, beside = with_block(before(), BLOCK, role="user").to_provider_format(format)
    (holder,) = holders(sent)
    assert holder["role"] == "user"
    text = str(sent).replace("\\n", "\n")
    assert text.count(BLOCK) == 1
    assert f"<instructions>\n{BLOCK}" not in text
    assert BLOCK not in str(beside).replace("\\n", "\n")  # what goes beside the messages is instructions


@pytest.mark.parametrize("format", FORMATS)
def test_every_provider_is_sent_the_block_before_what_the_user_said(format: str) -> None:
    sent, _ = with_block(conversation(), BLOCK, role="user").to_provider_format(format)
    text = str(sent).replace("\\n", "\n")
    assert text.index(BLOCK) < text.index("What is my dog called?")


def test_a_format_would_make_instructions_of_a_system_message() -> None:
    """Why the role is `user`: if this fails, providers have changed, and the docstring of `attach` is wrong."""
    sent, _ = with_block(conversation(), BLOCK, role="system").to_provider_format("anthropic")
    assert f"<instructions>\n{BLOCK}" in str(sent).replace("\\n", "\n")


def test_the_conversation_itself_is_left_as_it_is() -> None:
    before = conversation()
    with_block(before, BLOCK, role="user")
    assert before.get_by_id(BLOCK_ID) is None
