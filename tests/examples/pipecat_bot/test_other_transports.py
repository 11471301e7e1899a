"""Pipecat's evaluations, and a plain WebSocket, lead to the same bot with the same memory."""

import asyncio

import pytest
from pipecat.frames.frames import Frame, InputAudioRawFrame, InputTransportMessageFrame, OutputTransportMessageFrame
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from websockets.asyncio.client import connect

from tests.examples.pipecat_bot.conftest import EXAMPLE

READY = {"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": {"version": "2.1.0"}}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Pipecat's evaluations use what websockets has given up
async def test_the_evaluation_passes_and_a_websocket_reaches_the_same_memory(bot_url: str) -> None:
    from pipecat.evals.scenario import EvalScenarioFile
    from pipecat.evals.script import EvalScriptScenario
    from pipecat.evals.script_session import EvalScriptSession

    address = bot_url.replace("http", "ws")
    for scenario in EvalScenarioFile.load(EXAMPLE / "evals" / "memory.yaml"):
        assert isinstance(scenario, EvalScriptScenario)
        result = await EvalScriptSession.from_scenario(scenario, f"{address}/ws").run()
        assert result.passed, result.failures

    assert "Welcome back, Anna!" in await greeting(f"{address}/ws-client")


async def greeting(address: str) -> str:
    """Call over a plain WebSocket, and return what is said once its sound has come too."""
    protobuf = ProtobufFrameSerializer()
    said = ""
    async with connect(address) as socket, asyncio.timeout(60):
        hello = await protobuf.serialize(OutputTransportMessageFrame(message=READY))
        assert isinstance(hello, bytes)
        await socket.send(hello)
        async for raw in socket:
            frame = await protobuf.deserialize(raw)
            said += sentence(frame)
            if said and isinstance(frame, InputAudioRawFrame):
                return said
    return said


def sentence(frame: Frame | None) -> str:
    if isinstance(frame, InputTransportMessageFrame) and frame.message.get("type") == "bot-output":
        return f"{frame.message['data']['text']} "
    return ""
