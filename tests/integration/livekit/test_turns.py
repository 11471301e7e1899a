"""What the model is given in each turn, and what is recorded of it, by the framework's own text sessions."""

import asyncio
from collections.abc import AsyncIterable

import pytest
from livekit.agents import Agent, AgentSession, AgentTask, ModelSettings, RunContext, function_tool
from livekit.agents.llm import ChatChunk, ChatContext, ChoiceDelta, Tool

from edgememory import EdgeMemory, EdgeMemoryError, Session
from edgememory.integrations.livekit import Call, Caller, MemoryAgent, MemoryAgentMixin, MemoryToolset, Verified, attach
from edgememory.integrations.livekit.call import BLOCK_ID
from edgememory.integrations.livekit.toolset import WITHHELD
from tests.integration.livekit.conftest import DOG
from tests.integration.livekit.scripted import ScriptedLLM, Use, echo, said_last

pytestmark = pytest.mark.anyio


def recorded(session: Session) -> list[tuple[str, str]]:
    """What was said in this call, as it is kept."""
    messages = session.snapshot.messages
    return [(each.role, each.text.strip()) for each in messages if each.session_id == session.session_id]


class Hello(MemoryAgent):
    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the caller.")


async def test_each_turn_has_the_block_once_just_before_what_the_user_said(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM
) -> None:
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions="Be kind."))
    for said in ("hello", "what of my sink?"):
        result = await agent_session.run(user_input=said)
        result.expect.next_event().is_message(role="assistant")
    for given, said in zip(model.given, ("hello", "what of my sink?"), strict=True):
        block, last = given.messages()[-2:]
        assert (block.id, block.role, last.text_content) == (BLOCK_ID, "user", said)
        assert DOG in (block.text_content or "")
    assert [len(blocks) for blocks in model.blocks] == [1, 1]


async def test_what_was_recalled_for_the_turns_words_stands_in_it(
    agent_session: AgentSession[None], memory: EdgeMemory, model: ScriptedLLM
) -> None:
    async with memory.session("ana") as earlier:
        for number in range(20):
            earlier.add_message("user", f"Order {number} is late")
        await earlier.committed()
    async with memory.session("ana") as session:
        attach(agent_session, session, deep=True, recall_timeout=10)
        await agent_session.start(MemoryAgent(instructions=""))
        await agent_session.run(user_input="hello")
        await agent_session.run(user_input="what of my kitchen sink?")
    without, with_it = (blocks[0] for blocks in model.blocks)
    assert "The plumber broke my kitchen sink" not in without
    assert "The plumber broke my kitchen sink" in with_it


async def test_the_history_never_holds_the_block(agent_session: AgentSession[None], session: Session) -> None:
    attach(agent_session, session)
    agent = MemoryAgent(instructions="Be kind.")
    await agent_session.start(agent)
    await agent_session.run(user_input="hello")
    for history in (agent_session.history, agent.chat_ctx):
        assert not any(DOG in (message.text_content or "") for message in history.messages())


async def test_what_was_said_is_recorded_and_the_block_never_is(
    agent_session: AgentSession[None], session: Session
) -> None:
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions="Be kind."))
    await agent_session.run(user_input="hello")
    assert recorded(session) == [("user", "hello"), ("assistant", "You said: hello")]


async def test_a_second_identical_yes_is_recorded_twice(agent_session: AgentSession[None], session: Session) -> None:
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions=""))
    await agent_session.run(user_input="yes")
    await agent_session.run(user_input="yes")
    assert recorded(session).count(("user", "yes")) == 2


async def test_text_that_no_store_can_keep_is_not_recorded_and_the_call_goes_on(
    agent_session: AgentSession[None], session: Session
) -> None:
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions=""))
    await agent_session.run(user_input="null \x00 byte")
    await agent_session.run(user_input="hello")
    assert ("user", "hello") in recorded(session)


async def test_a_greeting_has_the_block_after_the_instructions(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM
) -> None:
    attach(agent_session, session)
    await agent_session.start(Hello(instructions="Be kind."), capture_run=True)
    (given,) = model.given
    assert [message.text_content for message in given.messages() if message.id != BLOCK_ID] == [
        "Be kind.",
        "Greet the caller.",
    ]
    assert [message.id == BLOCK_ID for message in given.messages()] == [False, True, False]


class Shop(MemoryAgent):
    @function_tool
    async def price(self, ctx: RunContext[None]) -> str:
        """Look a price up."""
        return "12 francs"


def uses_price(chat_ctx: ChatContext) -> str | Use:
    last = chat_ctx.items[-1]
    return f"It is {last.output}" if last.type == "function_call_output" else Use("price")


async def test_each_step_of_a_tool_has_the_block_once_and_recalls_once(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    recalls: list[str] = []
    recall = session.recall

    async def counted(query: str, **options: object) -> object:
        recalls.append(query)
        return await recall(query, **options)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(session, "recall", counted)
    model.rule = uses_price
    attach(agent_session, session)
    await agent_session.start(Shop(instructions=""))
    result = await agent_session.run(user_input="what does it cost?")
    result.expect.next_event().is_function_call(name="price")
    result.expect.next_event().is_function_call_output()
    result.expect.next_event().is_message(role="assistant")
    assert [len(blocks) for blocks in model.blocks] == [1, 1]
    assert recalls == ["what does it cost?"]
    assert recorded(session) == [("user", "what does it cost?"), ("assistant", "It is 12 francs")]


class Reception(MemoryAgent):
    @function_tool
    async def transfer(self, ctx: RunContext[None]) -> tuple[Agent, str]:
        """Hand over to the workshop."""
        return Workshop(instructions="You mend things.", chat_ctx=self.chat_ctx.copy(exclude_instructions=True)), "done"


class OwnAgent(Agent):
    async def llm_node(
        self, chat_ctx: ChatContext, tools: list[Tool], model_settings: ModelSettings
    ) -> AsyncIterable[ChatChunk | str]:
        async def answer() -> AsyncIterable[ChatChunk | str]:
            async for chunk in Agent.default.llm_node(self, chat_ctx, tools, model_settings):
                yield chunk  # type: ignore[misc]  # a flush is never sent by this model

        return answer()


class Workshop(MemoryAgentMixin, OwnAgent):
    """An agent with a model node of its own, of the other kind that LiveKit takes."""


class Endless:
    """A model's stream, as LiveKit's own are: closed, and no generator."""

    def __init__(self) -> None:
        self.begun, self.closed = asyncio.Event(), asyncio.Event()

    def __aiter__(self) -> "Endless":
        return self

    async def __anext__(self) -> ChatChunk:
        if self.begun.is_set():
            await self.closed.wait()
        self.begun.set()
        return ChatChunk(id="endless", delta=ChoiceDelta(role="assistant", content="Well, "))

    async def aclose(self) -> None:
        self.closed.set()


class Streaming(Agent):
    def __init__(self, stream: Endless) -> None:
        super().__init__(instructions="")
        self._stream = stream

    def llm_node(self, chat_ctx: ChatContext, tools: list[Tool], model_settings: ModelSettings) -> Endless:  # type: ignore[override]  # LiveKit takes it
        return self._stream


class StreamingMemory(MemoryAgentMixin, Streaming):
    """The same, with memory."""


async def test_a_reply_that_is_cut_off_closes_the_stream_of_an_agents_own_model(
    agent_session: AgentSession[None], session: Session
) -> None:
    attach(agent_session, session)
    stream = Endless()
    await agent_session.start(StreamingMemory(stream))
    agent_session.generate_reply(user_input="hello")
    async with asyncio.timeout(60):
        await stream.begun.wait()
        await agent_session.interrupt()
        await stream.closed.wait()


def transfers(chat_ctx: ChatContext) -> str | Use:
    done = any(item.type == "function_call" for item in chat_ctx.items)
    return echo(chat_ctx) if done or said_last(chat_ctx) != "my sink" else Use("transfer")


async def test_after_a_handoff_the_next_agent_has_the_block_once_too(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM
) -> None:
    model.rule = transfers
    attach(agent_session, session)
    await agent_session.start(Reception(instructions="You answer the phone."))
    await agent_session.run(user_input="my sink")
    await agent_session.run(user_input="when?")
    assert isinstance(agent_session.current_agent, Workshop)
    assert all(len(blocks) == 1 for blocks in model.blocks)
    assert recorded(session)[-2:] == [("user", "when?"), ("assistant", "You said: when?")]


class Consent(MemoryAgentMixin, AgentTask[str]):
    async def on_enter(self) -> None:
        await super().on_enter()
        await self.session.generate_reply(instructions="Ask for consent.")
        self.complete("given")


class Surgery(MemoryAgent):
    @function_tool
    async def consent(self, ctx: RunContext[None]) -> str:
        """Ask whether it may be recorded."""
        return await Consent(instructions="You ask one question.")


async def test_a_task_that_speaks_first_has_the_block_after_its_instructions(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM
) -> None:
    """LiveKit puts the call of the tool that awaits it before them."""
    model.rule = lambda chat_ctx: (
        Use("consent") if said_last(chat_ctx) == "hello" and chat_ctx.items[-1].type == "message" else "May I?"
    )
    attach(agent_session, session)
    await agent_session.start(Surgery(instructions="You help."))
    await agent_session.run(user_input="hello")
    messages = model.given[1].messages()
    assert [message.text_content for message in messages if message.id != BLOCK_ID] == [
        "You ask one question.",
        "Ask for consent.",
    ]
    assert [message.id == BLOCK_ID for message in messages] == [False, True, False]


async def test_an_agent_whose_session_has_no_memory_answers_without(
    agent_session: AgentSession[None], model: ScriptedLLM
) -> None:
    await agent_session.start(MemoryAgent(instructions=""))
    result = await agent_session.run(user_input="hello")
    result.expect.next_event().is_message(role="assistant")
    assert model.blocks == [[]]


async def test_a_session_has_one_memory(agent_session: AgentSession[None], session: Session) -> None:
    attach(agent_session, session)
    with pytest.raises(EdgeMemoryError, match="once"):
        attach(agent_session, session)


@pytest.mark.parametrize(("verified", "told"), [(Verified.CALLER_ID, False), (Verified.SIGNED, True)])
async def test_nothing_is_told_to_who_is_not_verified_enough(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM, verified: Verified, told: bool
) -> None:
    attach(agent_session, Call(session, Caller("ana", verified), disclose=Verified.SIGNED))
    await agent_session.start(MemoryAgent(instructions=""))
    await agent_session.run(user_input="hello")
    assert bool(model.blocks[0]) == told
    assert ("user", "hello") in recorded(session)


async def test_who_confirms_who_they_are_is_told_from_the_next_turn_on(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM
) -> None:
    call = Call(session, Caller("ana", Verified.CALLER_ID))
    attach(agent_session, call)
    await agent_session.start(MemoryAgent(instructions=""))
    await agent_session.run(user_input="hello")
    call.confirm()
    await agent_session.run(user_input="my PIN is 1234")
    assert [len(blocks) for blocks in model.blocks] == [0, 1]


async def test_who_is_identified_in_mid_call_is_told_from_the_next_turn_on(
    agent_session: AgentSession[None], memory: EdgeMemory, model: ScriptedLLM
) -> None:
    async with memory.session(None) as session:
        call = Call(session, Caller())
        attach(agent_session, call)
        await agent_session.start(MemoryAgent(instructions=""))
        await agent_session.run(user_input="hello")
        await call.identify("ana")
        await agent_session.run(user_input="my sink")
        assert [DOG in "".join(blocks) for blocks in model.blocks] == [False, True]
        assert ("user", "hello") in recorded(session)


def uses(tool: str, arguments: str) -> object:
    def rule(chat_ctx: ChatContext) -> str | Use:
        last = chat_ctx.items[-1]
        return last.output if last.type == "function_call_output" else Use(tool, arguments)

    return rule


@pytest.mark.parametrize(
    ("tool", "arguments", "answer"),
    [
        ("recall", '{"query": "kitchen sink"}', "The plumber broke my kitchen sink"),
        ("remember", '{"fact": "Likes tea"}', "Remembered: Likes tea"),
        ("forget", f'{{"fact": "{DOG}"}}', f"Forgotten: {DOG}"),
    ],
)
async def test_the_models_tools_recall_remember_and_forget(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM, tool: str, arguments: str, answer: str
) -> None:
    model.rule = uses(tool, arguments)  # type: ignore[assignment]  # pytest's parameters
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions="", tools=[MemoryToolset()]))
    result = await agent_session.run(user_input="please")
    result.expect.next_event().is_function_call(name=tool)
    output = result.expect.next_event().is_function_call_output(is_error=False).event().item.output
    assert answer in output
    facts = {fact.text for fact in session.snapshot.facts}
    assert facts == {"recall": {DOG}, "remember": {DOG, "Likes tea"}, "forget": set()}[tool]


@pytest.mark.parametrize("tool", ["recall", "forget"])
async def test_what_the_block_withholds_no_tool_tells(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM, tool: str
) -> None:
    argument = {"recall": "query", "forget": "fact"}[tool]
    model.rule = uses(tool, f'{{"{argument}": "dog"}}')  # type: ignore[assignment]  # pytest's parameters
    attach(agent_session, Call(session, Caller("ana", Verified.CALLER_ID)))
    await agent_session.start(MemoryAgent(instructions="", tools=[MemoryToolset()]))
    result = await agent_session.run(user_input="tell me")
    result.expect.contains_message(role="assistant")
    assert [event.item.output for event in result.events if event.type == "function_call_output"] == [WITHHELD]


async def test_an_interrupted_reply_is_recorded_as_far_as_it_came_and_as_such(
    agent_session: AgentSession[None], session: Session, model: ScriptedLLM
) -> None:
    model.rule = lambda chat_ctx: "one two three four five six seven eight nine ten"
    model.word_seconds = 3600.0  # after the first word
    attach(agent_session, session)
    await agent_session.start(MemoryAgent(instructions=""))
    speaks = asyncio.Event()
    agent_session.on("agent_state_changed", lambda event: speaks.set() if event.new_state == "speaking" else None)
    speech = agent_session.generate_reply(user_input="count")
    await speaks.wait()
    speech.interrupt()
    await speech
    last = session.snapshot.messages[-1]
    assert (last.role, last.text.strip(), last.interrupted) == ("assistant", "one", True)
