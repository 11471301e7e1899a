"""What was said, read from the contexts of a pipeline, each message once."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InterruptionFrame,
    LLMMessagesTransformFrame,
    LLMMessagesUpdateFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage
from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator, LLMUserAggregator
from pipecat.processors.frame_processor import FrameProcessor

from edgememory.errors import InvalidInputError
from edgememory.integrations.pipecat.messages import spoken
from edgememory.session import Session

_log = logging.getLogger("edgememory")
P = TypeVar("P", bound=FrameProcessor)


class Recorder:
    """Tells a session what was said. A message is known by its identity, so that a second "yes" is one more.

    It may be asked to look as often as one likes.
    """

    def __init__(self, session: Session) -> None:
        self.is_open = False
        """Whether the session is. Until then nothing is read, and nothing is missed."""
        self._session = session
        self._contexts: list[LLMContext] = []
        # The messages themselves are kept: the id of one that is gone could be given to another.
        self._known: dict[int, LLMContextMessage] = {}
        self._cuts: set[int] = set()

    def follow(self, pipeline: FrameProcessor) -> None:
        """Record the contexts of the pipeline's assistant aggregators, and only these.

        What stands in them already was said by nobody in this call: prompts, or a history that is restored.
        """
        for aggregator in _found(pipeline, LLMAssistantAggregator):
            self._contexts.append(aggregator.context)
            self._know(aggregator.context.get_messages())
            # These events are awaited where they occur. `on_assistant_turn_stopped` says later, in a task of its own,
            # that a reply was interrupted: a look that comes between would take it for a whole one.
            aggregator.add_event_handler("on_before_process_frame", lambda _, frame: self.cut_begins(frame))
            aggregator.add_event_handler("on_after_process_frame", lambda _, frame: self._cut_ends(frame))
        for user in _found(pipeline, LLMUserAggregator):
            user.add_event_handler("on_after_process_frame", lambda _, frame: self._rewritten(frame))

    def cut_begins(self, frame: Frame) -> None:
        """Take replies for interrupted that are written down from now on until this frame has passed the aggregator.

        The model's service is before the aggregator, and ends its reply there as if it were whole.
        """
        if self._contexts and isinstance(frame, (InterruptionFrame, CancelFrame)):
            self.look()
            self._cuts.add(frame.id)

    def _cut_ends(self, frame: Frame) -> None:
        if frame.id in self._cuts:
            self.look()
            self._cuts.remove(frame.id)

    def _rewritten(self, frame: Frame) -> None:
        # Before anything is added: what reads the same is a copy of what was said until now.
        if isinstance(frame, (LLMMessagesUpdateFrame, LLMMessagesTransformFrame)):
            self.look()

    def look(self, context: LLMContext | None = None) -> None:
        """Record what is new: in *context* only where no aggregator is followed."""
        if not self.is_open:
            return
        for each in self._contexts or ([] if context is None else [context]):
            new = self._new(each.get_messages())
            self._know(new)
            for message in new:
                self._record(message)

    def _new(self, messages: Sequence[LLMContextMessage]) -> list[LLMContextMessage]:
        """Return those that were added. What stands before one that is known was inserted, as a summary is."""
        for place in range(len(messages) - 1, -1, -1):
            if id(messages[place]) in self._known and spoken(messages[place]):
                return [message for message in messages[place + 1 :] if id(message) not in self._known]
        return self._not_copied(messages)

    def _not_copied(self, messages: Sequence[LLMContextMessage]) -> list[LLMContextMessage]:
        """Return those that do not read like one that is known: somebody has rewritten the context, with copies."""
        known, new = Counter(map(spoken, self._known.values())), list[LLMContextMessage]()
        for message in messages:
            if known[spoken(message)] > 0:
                known[spoken(message)] -= 1
            elif id(message) not in self._known:
                new.append(message)
        self._know(messages)
        # What stands nowhere any more is settled: whoever says the same later says it anew.
        standing = {
            id(message) for each in (messages, *map(LLMContext.get_messages, self._contexts)) for message in each
        }
        self._known = {key: message for key, message in self._known.items() if key in standing}
        return new

    def _know(self, messages: Sequence[LLMContextMessage]) -> None:
        self._known.update((id(message), message) for message in messages)

    def _record(self, message: LLMContextMessage) -> None:
        said = spoken(message)
        if said is None:
            return
        role, text = said
        try:
            self._session.add_message(role, text, interrupted=role == "assistant" and bool(self._cuts))
        except InvalidInputError as error:
            _log.warning("a message is not recorded: %s", error)
        except Exception:  # Whatever it is, the frame that brought it must go on: it may be the one that ends the call.
            _log.exception("a message is not recorded")


def _found(processor: FrameProcessor, kind: type[P]) -> Iterator[P]:
    if isinstance(processor, kind):
        yield processor
    for inner in processor.processors:
        yield from _found(inner, kind)
