"""A call from beginning to end: who calls, the pipeline, and what the page is told meanwhile."""

import os
from functools import cache
from typing import cast

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import LLMRunFrame
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregatorParams
from pipecat.processors.frameworks.rtvi import RTVIProcessor
from pipecat.processors.frameworks.rtvi.models import ClientMessage
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport  # pyright: ignore[reportUnknownVariableType] - open in Pipecat
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

from edgememory import EdgeMemory, EdgeMemoryError
from voicebot.conversation import Conversation, conversation
from voicebot.place import SharedMemory, memory_from, origin_is_here
from voicebot.providers import Providers, chosen, ears, voice
from voicebot.told import error_message, memory_message, receipt_message


def _plain() -> TransportParams:
    return TransportParams(audio_in_enabled=True, audio_out_enabled=True)


def _websocket() -> TransportParams:
    from pipecat.serializers.protobuf import ProtobufFrameSerializer
    from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams

    return FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=ProtobufFrameSerializer())


def _evaluation() -> TransportParams:
    from pipecat.evals.transport import EvalTransportParams

    return EvalTransportParams(audio_in_enabled=True, audio_out_enabled=True)


def _daily() -> TransportParams:
    from pipecat.transports.daily.transport import DailyParams

    return DailyParams(audio_in_enabled=True, audio_out_enabled=True)


# Each is imported when it is used: they need much, and not each installation has all of it.
TRANSPORTS = {"webrtc": _plain, "websocket": _websocket, "eval": _evaluation, "daily": _daily}


@cache
def shared_memory() -> SharedMemory:
    """Return this process's memory, not yet opened."""
    return SharedMemory(memory_from(os.environ))


def caller_of(body: object) -> str | None:
    """Return who calls, as whoever started the call says; `None` if it does not say.

    A page of yours must not be believed like this one: see the README, "Who calls".
    """
    said = cast("dict[str, object]", body).get("user_id") if isinstance(body, dict) else None
    return said if isinstance(said, str) and said else None


async def answer_call(runner_args: RunnerArguments) -> None:
    """Hold one call, until the caller hangs up."""
    providers = chosen(os.environ)
    async with shared_memory().opened() as memory:
        transport = await create_transport(runner_args, TRANSPORTS)
        caller = caller_of(runner_args.body)
        talking = conversation(
            memory,
            caller,
            providers=providers,
            environment=os.environ,
            turns=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer()),
            ears=(transport.input(), ears(providers, os.environ)),
            voice=(voice(providers, os.environ), transport.output()),
            idle_timeout=runner_args.pipeline_idle_timeout_secs,
        )
        converse(talking, transport)
        tell_the_page(talking, memory, caller, providers)
        runner = WorkerRunner(handle_sigint=runner_args.handle_sigint, handle_sigterm=runner_args.handle_sigterm)
        await runner.add_workers(talking.worker)
        await runner.run()


def converse(talking: Conversation, transport: BaseTransport) -> None:
    """Greet the caller, and end with them."""

    async def greet(_: RTVIProcessor) -> None:
        await talking.worker.queue_frame(LLMRunFrame())

    async def hang_up(_: BaseTransport, client: object) -> None:
        await talking.worker.cancel()

    talking.worker.rtvi.add_event_handler("on_client_ready", greet)
    transport.add_event_handler("on_client_disconnected", hang_up)


def tell_the_page(talking: Conversation, memory: EdgeMemory, caller: str | None, providers: Providers) -> None:
    """Send what is remembered when the page is there, and after each reply; forget the caller if they ask for it."""
    rtvi = talking.worker.rtvi

    async def tell(_: object, *__: object) -> None:
        await rtvi.send_server_message(
            memory_message(
                talking.memory.session,
                providers,
                opened_in=talking.memory.opened_in,
                waited=talking.memory.turns.waited,
                origin_is_here=origin_is_here(os.environ),
            )
        )

    async def forget(_: RTVIProcessor, message: ClientMessage) -> None:
        if message.type != "forget" or caller is None:
            return
        try:
            receipt = await memory.delete_user(caller)
        except EdgeMemoryError as error:
            await rtvi.send_server_message(error_message(error))
            return
        await tell(rtvi)
        await rtvi.send_server_message(receipt_message(receipt))

    rtvi.add_event_handler("on_client_ready", tell)
    rtvi.add_event_handler("on_client_message", forget)
    talking.assistant.add_event_handler("on_assistant_turn_stopped", tell)
