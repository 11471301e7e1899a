"""Two calls over real WebRTC, spoken and heard: the second is greeted with what the first said."""

import pytest

from tests.examples.pipecat_bot.caller import Caller, calling
from tests.examples.pipecat_bot.speech import spoken

SUSAN = "caller-susan"


async def greeting(call: Caller) -> str:
    await call.until(lambda _: call.ended_turns() == 1)
    return call.said("bot-output")


@pytest.mark.spoken
async def test_the_second_call_is_greeted_with_what_the_first_said(bot_url: str) -> None:
    async with calling(bot_url, SUSAN) as call:
        assert "We have not met." in await greeting(call)
        call.say(spoken("my name is susan and i live in chicago"))
        await call.until(lambda _: "Chicago" in call.said("bot-output"))
        assert call.said("user-input") == "my name is susan and i live in chicago"

    async with calling(bot_url, SUSAN) as call:
        assert await greeting(call) == "Welcome back, Susan! I remember that you live in Chicago."
