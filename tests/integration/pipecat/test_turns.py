"""What the model is given in each turn."""

import asyncio
import itertools

import pytest
from pipecat.frames.frames import LLMContextFrame, ProposedUserStartedSpeakingFrame, ProposedUserStoppedSpeakingFrame
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage
from pipecat.services.llm_service import FunctionCallParams
from pipecat.tests.utils import run_test
from pipecat.turns.user_turn_strategies import EagerUserTurnStrategies

from edgememory import EdgeMemory
from edgememory.context import RECALLED
from edgememory.integrations.pipecat import EdgeMemoryService
from edgememory.recall.query import Match
from tests.integration.pipecat.calls import PROMPT, Call, running
from tests.integration.pipecat.conftest import DOG
from tests.integration.pipecat.scripted import ScriptedLLM, Use, blocks_in, text_of

pytestmark = pytest.mark.anyio


class Counted:
    """A session whose recalls are counted, and wait for leave."""

    def __init__(self, service: EdgeMemoryService, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queries: list[str] = []
        self.began = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        whole = service.session.recall

        async def recall(query: str, **options: object) -> list[Match]:
            self.queries.append(query)
            self.began.set()
            await self.may_go_on.wait()
            return await whole(query, **options)  # type: ignore[arg-type]  # as it was called

        monkeypatch.setattr(service.session, "recall", recall)


async def test_ten_turns_leave_one_memory_message_just_before_what_the_caller_said_last(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        for number in range(10):
            await call.turn(f"turn {number}")
        assert len(blocks_in(call.context.get_messages())) == 1
    for number, given in enumerate(model.given):
        block, last = given[-2:]
        assert text_of(last) == f"turn {number}"
        assert blocks_in(given) == [text_of(block)]
        assert DOG in text_of(block)
        assert block["role"] == "user"


async def test_what_stands_before_the_block_is_alike_from_turn_to_turn(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        for said in ("my dog", "yes", "kitchen", "my dog"):
            await call.turn(said)
    before = [given[:-2] for given in model.given]
    for earlier, later in itertools.pairwise(before):
        assert earlier == later[: len(earlier)]
        assert len(later) == len(earlier) + 2


async def test_what_was_recalled_for_the_caller_s_words_stands_in_the_block(
    memory: EdgeMemory, model: ScriptedLLM
) -> None:
    async with memory.session("ana") as earlier:
        for number in range(20):
            earlier.add_message("user", f"Order {number} is late")
        await earlier.committed()
    params = EdgeMemoryService.InputParams(deep=True, recall_timeout=10)
    async with running(Call(EdgeMemoryService(memory, user_id="ana", params=params), model)) as call:
        await call.turn("hello")
        await call.turn("what of my kitchen sink?")
    (without,), (with_it,) = model.blocks
    assert "The plumber broke my kitchen sink" not in without
    assert "The plumber broke my kitchen sink" in with_it.split(RECALLED)[1]


async def price(params: FunctionCallParams) -> None:
    """Look a price up."""
    await params.result_callback("12 francs")


def uses_price(messages: list[LLMContextMessage]) -> str | Use:
    return "It costs that." if messages[-1]["role"] == "tool" else Use("price")


async def test_the_step_that_follows_a_tool_sees_memory_and_recalls_nothing_anew(
    service: EdgeMemoryService, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(service, monkeypatch)
    model.rule = uses_price
    async with running(Call(service, model, tools=[price])) as call:
        await call.turn("what does it cost?")
    assert len(model.given) == 2
    assert model.blocks[0] == model.blocks[1]
    assert DOG in model.blocks[1][0]
    assert counted.queries == ["what does it cost?"]


async def test_a_turn_that_is_answered_again_is_recalled_for_once(
    service: EdgeMemoryService, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(service, monkeypatch)
    async with running(Call(service, model)) as call:
        await call.append("my dog")
        await call.answered()
        await call.pick_up()
        await call.answered()
    assert model.blocks[0] == model.blocks[1]
    assert counted.queries == ["my dog"]


async def test_the_greeting_of_a_known_caller_has_memory_after_the_instructions(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    model.rule = lambda _: "Hello Ana!"
    async with running(Call(service, model)) as call:
        await call.append("Greet the caller.", role="developer")
        await call.answered()
        await call.turn("hello")
    greeting, reply = model.given
    assert [text_of(it) for it in greeting] == [PROMPT, model.blocks[0][0], "Greet the caller."]
    assert [text_of(it) for it in reply] == [
        PROMPT,
        "Greet the caller.",
        "Hello Ana!",
        model.blocks[1][0],
        "hello",
    ]


async def test_a_caller_of_whom_nothing_is_known_costs_no_message(memory: EdgeMemory, model: ScriptedLLM) -> None:
    async with running(Call(EdgeMemoryService(memory, user_id="stranger"), model)) as call:
        await call.turn("hello")
    assert [text_of(it) for it in model.given[0]] == [PROMPT, "hello"]


async def test_who_is_identified_in_mid_call_is_known_from_the_next_turn_on(
    memory: EdgeMemory, model: ScriptedLLM
) -> None:
    service = EdgeMemoryService(memory)
    assert service.user_id is None
    async with running(Call(service, model)) as call:
        await call.turn("hello")
        await service.session.identify("ana")
        await call.turn("it is Ana")
        assert ("user", "hello") in call.recorded
    assert model.blocks[0] == []
    assert DOG in model.blocks[1][0]
    assert service.user_id == "ana"


async def test_who_is_forgotten_in_mid_call_is_unknown_from_the_next_turn_on(
    memory: EdgeMemory, service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model)) as call:
        await call.turn("forget me")
        await memory.delete_user("ana")
        await call.turn("who am I?")
        assert blocks_in(call.context.get_messages()) == []
    assert [len(blocks) for blocks in model.blocks] == [1, 0]


async def test_a_reply_that_is_begun_early_has_memory_and_leaves_no_trace_until_it_is_confirmed(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model, strategies=EagerUserTurnStrategies())) as call:
        await call.seem_to_say("my dog")
        assert await model.asked.get() == "my dog"
        assert call.recorded == []
        assert blocks_in(call.context.get_messages()) == []
        await call.say("My dog.")
        await call.answered()
        await call.settled()
        assert call.recorded == [("user", "My dog."), ("assistant", "You said: my dog")]
    assert [len(blocks) for blocks in model.blocks] == [1]


async def test_a_reply_that_is_begun_early_and_thrown_away_is_recorded_by_nobody(
    service: EdgeMemoryService, model: ScriptedLLM
) -> None:
    async with running(Call(service, model, strategies=EagerUserTurnStrategies())) as call:
        await call.seem_to_say("my dog")
        await model.asked.get()
        await call.say("my dog is ill")
        await call.answered()
        await call.settled()
        assert call.recorded == [("user", "my dog is ill"), ("assistant", "You said: my dog is ill")]
    assert [len(blocks) for blocks in model.blocks] == [1, 1]


async def test_an_interruption_in_mid_recall_leaves_nothing_half_done(
    memory: EdgeMemory, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = EdgeMemoryService(memory, user_id="ana", params=EdgeMemoryService.InputParams(recall_timeout=3600))
    counted = Counted(service, monkeypatch)
    async with running(Call(service, model)) as call:
        await call.turn("hello")
        counted.began.clear()
        counted.may_go_on.clear()
        await call.append("my dog")  # not spoken: nothing is prefetched
        await counted.began.wait()
        await call.say("my cat")
        assert len(blocks_in(call.context.get_messages())) == 1
        while counted.queries[-1] != "my cat":
            counted.began.clear()
            await counted.began.wait()
        counted.may_go_on.set()
        await call.answered()
        assert [text_of(it) for it in call.context.get_messages()] == [
            PROMPT,
            "hello",
            "You said: hello",
            "my dog",
            model.blocks[-1][0],
            "my cat",
            "You said: my cat",
        ]
        await call.settled()
        assert [text for role, text in call.recorded if role == "user"] == ["hello", "my dog", "my cat"]
    assert [len(blocks) for blocks in model.blocks] == [1, 1]


async def test_recall_begins_on_an_interim_transcript(
    service: EdgeMemoryService, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(service, monkeypatch)
    counted.may_go_on.clear()
    async with running(Call(service, model)) as call:
        await call.hear("my")
        await counted.began.wait()
        for words in ("my dog", "my dog is", "my dog is ill"):
            await call.hear(words)
            await call.settled()
        counted.may_go_on.set()
        await call.turn("My dog is ill.")
        assert DOG in model.blocks[0][0].split(RECALLED)[0]
        await call.turn("Thanks.")
    # Of words that come faster than they are looked up, the newest are; and none twice.
    assert counted.queries == ["my", "my dog is ill", "Thanks."]


async def test_a_turn_that_is_heard_in_pieces_is_prefetched_as_one(
    service: EdgeMemoryService, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(service, monkeypatch)
    async with running(Call(service, model)) as call:
        for _ in range(2):
            await call.queue(ProposedUserStartedSpeakingFrame())
            for piece in ("My dog", "is ill."):
                counted.began.clear()
                await call.hear(piece, finally_so=True)
                await counted.began.wait()
            await call.queue(ProposedUserStoppedSpeakingFrame())
            await call.answered()
    assert counted.queries == ["My dog", "My dog is ill."] * 2
    assert [text_of(given[-1]) for given in model.given] == ["My dog is ill."] * 2


async def test_a_context_that_comes_alone_has_the_block_and_goes_on(service: EdgeMemoryService) -> None:
    context = LLMContext([{"role": "user", "content": "hello"}])
    frames = [LLMContextFrame(context=context), LLMContextFrame(context=context)]
    down, _ = await run_test(service, frames_to_send=frames)
    assert [type(frame) for frame in down] == [LLMContextFrame, LLMContextFrame]
    assert [text_of(it) for it in context.get_messages()][1:] == ["hello"]
    assert [it.text for it in service.session.snapshot.messages if it.role == "user"][-1:] == ["hello"]


async def test_a_context_that_comes_alone_to_be_answered_early_is_not_kept(service: EdgeMemoryService) -> None:
    context = LLMContext([{"role": "user", "content": "hel"}])
    await run_test(service, frames_to_send=[LLMContextFrame(context=context, speculation=True)])
    assert len(blocks_in(context.get_messages())) == 1
    assert [it.text for it in service.session.snapshot.messages] == ["The plumber broke my kitchen sink"]
