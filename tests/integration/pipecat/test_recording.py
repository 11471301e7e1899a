"""What is kept of what was said."""

import asyncio
import copy

import pytest
from pipecat.frames.frames import (
    LLMMarkerFrame,
    LLMMessagesAppendFrame,
    LLMMessagesTransformFrame,
    LLMMessagesUpdateFrame,
    LLMSummarizeContextFrame,
    ProposedUserStartedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.llm_service import FunctionCallParams
from pipecat.turns.user_turn_completion_mixin import USER_TURN_COMPLETE_MARKER, USER_TURN_INCOMPLETE_SHORT_MARKER

from edgememory import EdgeMemory
from edgememory.integrations.pipecat import EdgeMemoryService
from edgememory.integrations.pipecat.messages import spoken
from edgememory.integrations.pipecat.recorder import Recorder
from tests.integration.pipecat.calls import Call, running
from tests.integration.pipecat.scripted import ScriptedLLM, Use

pytestmark = pytest.mark.anyio


async def test_typed_appended_and_spoken_words_are_each_kept_once_and_nothing_else_is(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("spoken")
        await call.append("typed")
        await call.answered()
        await call.append("appended", run=False)
        await call.append("I have sent it.", role="assistant", run=False)
        await call.append("Be brief.", role="developer", run=False)
        await call.turn("spoken too")
    assert call.recorded == [
        ("user", "spoken"),
        ("assistant", "You said: spoken"),
        ("user", "typed"),
        ("assistant", "You said: typed"),
        ("user", "appended"),
        ("assistant", "I have sent it."),
        ("user", "spoken too"),
        ("assistant", "You said: spoken too"),
    ]


async def test_a_second_identical_yes_is_kept_twice(service: EdgeMemoryService, model: ScriptedLLM) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("yes")
        await call.turn("yes")
    assert call.recorded == [("user", "yes"), ("assistant", "You said: yes")] * 2


async def test_what_stood_in_the_context_before_the_call_is_not_kept(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    restored = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Hi!"}]
    async with running(Call(service, model, messages=restored)) as call:
        await call.turn("hello")
    assert call.recorded == [("user", "hello"), ("assistant", "You said: hello")]


async def test_a_reply_is_kept_when_it_has_been_given_and_not_only_in_the_next_turn(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("hello")
        await call.settled()
        assert call.recorded == [("user", "hello"), ("assistant", "You said: hello")]


async def test_text_among_images_is_kept(service: EdgeMemoryService, model: ScriptedLLM) -> None:
    image = LLMContext.create_image_url_message(url="https://example.com/sink.jpg", text="My sink looks so")
    async with running(Call(service, model)) as call:
        await call.queue(LLMMessagesAppendFrame([image], run_llm=True))
        await call.answered()
        await call.queue(LLMMessagesAppendFrame([LLMContext.create_image_url_message(url="https://example.com/2.jpg")]))
    assert call.recorded == [("user", "My sink looks so"), ("assistant", "You said: My sink looks so")]


async def price(params: FunctionCallParams) -> None:
    """Look a price up."""
    await params.result_callback("12 francs")


async def test_a_turn_that_only_calls_tools_is_not_kept(service: EdgeMemoryService, model: ScriptedLLM) -> None:
    model.rule = lambda messages: "It costs that." if messages[-1]["role"] == "tool" else Use("price")
    async with running(Call(service, model, tools=[price])) as call:
        await call.turn("what does it cost?")
    assert call.recorded == [("user", "what does it cost?"), ("assistant", "It costs that.")]


async def test_marks_by_which_a_model_judges_the_turn_are_no_words(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    model.rule = lambda _: f"{USER_TURN_COMPLETE_MARKER} Good."
    async with running(Call(service, model)) as call:
        await call.turn("hello")
        marker = LLMMarkerFrame(USER_TURN_INCOMPLETE_SHORT_MARKER, append_to_context_immediately=True)
        await call.assistant.queue_frame(marker)
        await call.answered()
    assert call.recorded == [("user", "hello"), ("assistant", "Good.")]


async def test_an_interrupted_reply_is_kept_as_far_as_it_came_and_as_such(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("whole")
        model.stays_silent = asyncio.Event()
        await call.say("count")
        await model.spoke.wait()
        await call.queue(ProposedUserStartedSpeakingFrame())
        await call.answered()
        await call.settled()
        kept = [(it.text, it.interrupted) for it in service.session.snapshot.messages[1:]]
        assert kept == [("whole", False), ("You said: whole", False), ("count", False), ("You", True)]


async def test_an_interruption_that_comes_from_behind_marks_no_later_reply(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("hello")
        await model.broadcast_interruption()
        await call.turn("go on")
    assert [it.interrupted for it in service.session.snapshot.messages[1:]] == [False] * 4


async def test_a_look_while_half_a_reply_is_written_down_does_not_take_it_for_a_whole_one(
    service: EdgeMemoryService, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(Call(service, model)) as call:
        whole = call.assistant.push_context_frame

        async def push_context_frame(*arguments: object) -> None:
            service._recorder.look()
            await whole(*arguments)  # type: ignore[arg-type]  # as it was called

        monkeypatch.setattr(call.assistant, "push_context_frame", push_context_frame)
        model.stays_silent = asyncio.Event()
        await call.say("count")
        await model.spoke.wait()
        await call.queue(ProposedUserStartedSpeakingFrame())
        await call.answered()
        await call.settled()
        assert service.session.snapshot.messages[-1].interrupted


@pytest.mark.parametrize("goodbye", ["hangs up", "is shown out"])
async def test_who_hangs_up_in_mid_sentence_has_heard_half_a_reply_and_it_is_kept_durably(
    memory: EdgeMemory, service: EdgeMemoryService, model: ScriptedLLM, goodbye: str
) -> None:
    model.stays_silent = asyncio.Event()
    async with running(Call(service, model)) as call:
        await call.say("count")
        await model.spoke.wait()
        if goodbye == "is shown out":
            model.stays_silent.set()
            await call.show_out()
    half = goodbye == "hangs up"
    assert call.recorded == [("user", "count"), ("assistant", "You" if half else "You said: count")]
    assert service.session.snapshot.messages[-1].interrupted == half
    assert service.session.durable
    assert [it.text for it in (await memory.get_profile("ana")).messages][-1] == call.recorded[-1][1]


@pytest.mark.parametrize("goodbye", ["hangs up", "is shown out"])
async def test_what_was_said_and_not_answered_is_kept_in_the_end(
    memory: EdgeMemory, service: EdgeMemoryService, model: ScriptedLLM, goodbye: str
) -> None:
    async with running(Call(service, model)) as call:
        await call.append("never mind", run=False)
        await call.settled()
        if goodbye == "is shown out":
            await call.show_out()
    assert call.recorded == [("user", "never mind")]
    assert [it.text for it in (await memory.get_profile("ana")).messages][-1] == "never mind"


async def test_what_a_bot_writes_into_the_context_after_the_last_frame_is_kept(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("hello")
        call.worker.add_event_handler(
            "on_pipeline_finished",
            lambda *_: call.context.add_message({"role": "assistant", "content": "Good bye."}),
        )
        await call.show_out()
    assert call.recorded[-1] == ("assistant", "Good bye.")


async def test_twenty_quick_interruptions_lose_nothing(
    memory: EdgeMemory, service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    model.stays_silent = asyncio.Event()
    said = [f"no, {number}" for number in range(20)]
    async with running(Call(service, model)) as call:
        for number, words in enumerate(said):
            model.spoke.clear()
            await call.say(words)
            if number % 2:
                await model.spoke.wait()
        model.stays_silent.set()
        await call.answered()
    in_context = [spoken(it) for it in call.context.get_messages()]
    await service.session.committed()
    page = await memory.get_messages("ana", session_id=service.session.session_id, limit=100)
    kept = page.items[::-1]
    # Turns that follow too quickly are made one by the aggregator.
    assert " ".join(it.text for it in kept if it.role == "user") == " ".join(said)
    assert [(it.role, it.text) for it in kept] == [it for it in in_context if it]
    halves = [it.interrupted for it in kept if it.role == "assistant" and it.text == "You"]
    assert len(halves) > 5
    assert all(halves)


async def test_a_summary_that_takes_the_place_of_old_messages_is_not_what_the_caller_said(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    applied = asyncio.Event()
    async with running(Call(service, model)) as call:
        call.assistant.add_event_handler("on_summary_applied", lambda *_: applied.set())
        for number in range(4):
            await call.turn(f"turn {number}")
        await call.queue(LLMSummarizeContextFrame())
        await applied.wait()
        await call.turn("and now?")
        assert any("They spoke of sinks." in str(it) for it in call.context.get_messages())
    assert not any("sinks" in text for _, text in call.recorded)
    assert [text for role, text in call.recorded if role == "user"][-2:] == ["turn 3", "and now?"]


async def test_a_context_that_is_rewritten_with_copies_is_not_kept_twice(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("yes")
        await call.turn("yes")
        await call.queue(LLMMessagesTransformFrame(copy.deepcopy))
        await call.turn("yes")
    assert call.recorded == [("user", "yes"), ("assistant", "You said: yes")] * 3
    assert [len(blocks) for blocks in model.blocks] == [1, 1, 1]


async def test_who_says_the_same_after_the_context_was_begun_anew_says_it_anew(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("yes")
        await call.queue(LLMMessagesUpdateFrame([{"role": "system", "content": "Now ask for the address."}]))
        await call.turn("yes")
    assert call.recorded == [("user", "yes"), ("assistant", "You said: yes")] * 2


async def test_text_that_no_store_can_keep_is_not_kept_and_the_call_goes_on(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("null \x00 byte")
        await call.turn("hello")
    assert call.recorded == [("user", "hello"), ("assistant", "You said: hello")]


async def test_a_pipeline_that_was_never_run_leaves_nothing_open(service: EdgeMemoryService) -> None:
    await service.cleanup()


async def test_an_aggregator_within_pipelines_of_a_pipeline_is_followed(memory: EdgeMemory) -> None:
    context = LLMContext([{"role": "user", "content": "said before"}])
    _, assistant = LLMContextAggregatorPair(context)
    async with memory.session("ana") as session:
        recorder = Recorder(session)
        recorder.follow(Pipeline([Pipeline([assistant])]))
        recorder.is_open = True
        context.add_message({"role": "user", "content": "hello"})
        recorder.look()
        assert [it.text for it in session.snapshot.messages][1:] == ["hello"]
