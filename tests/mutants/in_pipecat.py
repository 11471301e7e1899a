"""Bugs of memory in Pipecat: its own memory service has most of them."""

from tests.mutants.mutant import Mutant

_TURNS = ("tests/integration/pipecat/test_turns.py",)
_RECORDING = ("tests/integration/pipecat/test_recording.py",)
_OUTAGES = ("tests/integration/pipecat/test_outages.py",)
_MESSAGES = "integrations/pipecat/messages.py"
_PREFETCHER = "integrations/pipecat/prefetcher.py"
_RECORDER = "integrations/pipecat/recorder.py"
_SERVICE = "integrations/pipecat/service.py"

PIPECAT = (
    Mutant(
        "the block is in a copy of the context, which no tool's step sees",
        _SERVICE,
        "        context.transform_messages(lambda messages: with_block(messages, block))\n",
        "        from pipecat.processors.aggregators.llm_context import LLMContext\n"
        "        frame.context = LLMContext(with_block(context.get_messages(), block), context.tools)\n",
        _TURNS,
    ),
    Mutant(
        "each turn adds a block",
        _MESSAGES,
        "    others = [message for message in messages if not is_block(message)]\n    if block:\n",
        "    others = list(messages)\n    if block:\n",
        _TURNS,
    ),
    Mutant(
        "the block stands before the conversation, so that no prompt cache holds",
        _MESSAGES,
        "        return last\n",
        "        return 1\n",
        _TURNS,
    ),
    Mutant(
        "a reply that is begun early goes without memory",
        _SERVICE,
        "        context = frame.context\n",
        "        if frame.speculation:\n            return\n        context = frame.context\n",
        _TURNS,
    ),
    Mutant(
        "a turn that may yet be thrown away is recorded",
        _SERVICE,
        "        if not frame.speculation:\n            self._recorder.look(context)\n",
        "        self._recorder.look(context)\n",
        _TURNS,
    ),
    Mutant(
        "the old block is taken away before the new one is there",
        _SERVICE,
        "        turn_id, said = turn_of(context.get_messages())\n",
        "        turn_id, said = turn_of(context.get_messages())\n"
        "        context.transform_messages(lambda messages: with_block(messages, ''))\n",
        _TURNS,
    ),
    Mutant(
        "a turn that is answered again is recalled for again",
        _MESSAGES,
        '    return f"{place} {said}", said\n',
        '    return f"{len(messages)} {said}", said\n',
        _TURNS,
    ),
    Mutant(
        "interim transcripts are not looked at",
        _PREFETCHER,
        "            self._prefetch([*self._heard, frame.text])\n",
        "            pass\n",
        _TURNS,
    ),
    Mutant(
        "recalls for interim transcripts pile up",
        _PREFETCHER,
        "        if self._recalling is None or self._recalling.done():\n",
        "        if self._wanted:\n",
        _TURNS,
    ),
    Mutant(
        "a second yes is taken for the first",
        _RECORDER,
        "            new = self._new(each.get_messages())\n",
        "            known = {spoken(message) for message in self._known.values()}\n"
        "            new = [message for message in self._new(each.get_messages()) if spoken(message) not in known]\n",
        _RECORDING,
    ),
    Mutant(
        "the block is recorded as what the caller said",
        _MESSAGES,
        '    if role_of(message) == "user" and not is_block(message):\n',
        '    if role_of(message) == "user":\n',
        _RECORDING,
    ),
    Mutant(
        "content that is a list is not recorded",
        _MESSAGES,
        "    text = standard_message_text(message).strip()\n",
        '    text = str(message.get("content") or "").strip()\n',
        _RECORDING,
    ),
    Mutant(
        "what was said is recorded before the last words are there",
        _SERVICE,
        "            self._recorder.look()\n            await self._lifetime.aclose()\n",
        "            await self._lifetime.aclose()\n",
        _RECORDING,
    ),
    Mutant(
        "the session is not left",
        _SERVICE,
        "            await self._lifetime.aclose()\n",
        "            pass\n",
        _OUTAGES,
    ),
    Mutant(
        "a reply that is interrupted passes for a whole one",
        _SERVICE,
        "            self._recorder.cut_begins(frame)\n",
        "            pass\n",
        _RECORDING,
    ),
    Mutant(
        "replies pass for interrupted ever after",
        _RECORDER,
        "            self._cuts.remove(frame.id)\n",
        "            pass\n",
        _RECORDING,
    ),
    Mutant(
        "what is said while the session opens is not recorded",
        _SERVICE,
        "        self._recorder.follow(setup.pipeline_worker.pipeline)\n        began = time.perf_counter()\n"
        "        await self._lifetime.enter_async_context(self.session)\n",
        "        began = time.perf_counter()\n        await self._lifetime.enter_async_context(self.session)\n"
        "        self._recorder.follow(setup.pipeline_worker.pipeline)\n",
        _OUTAGES,
    ),
)
