"""Memory as tools of the model."""

from typing import Annotated

from livekit.agents import RunContext, function_tool
from livekit.agents.llm import Toolset
from pydantic import Field

from edgememory.integrations import tools
from edgememory.integrations.livekit.call import attached_to

WITHHELD = "Nothing is told or forgotten before the caller has confirmed who they are."
NO_MEMORY = "There is no memory in this conversation."

Query = Annotated[str, Field(description="What to look for, in the words in which it may have been said.")]
Fact = Annotated[str, Field(description="One short sentence that makes sense by itself.")]
KnownFact = Annotated[str, Field(description="The fact as it is known, word for word, without its date.")]


class MemoryToolset(Toolset):
    """`recall`, `remember` and `forget`, on the memory that is attached to the session in which the model runs.

    `recall` searches the whole history, and so does `forget` for a fact that is not at hand: while the model waits, up
    to a second, it may say so. All else costs nothing.
    What is withheld from the block is withheld here.
    """

    def __init__(self) -> None:
        super().__init__(id="edgememory")

    @function_tool
    async def recall(self, ctx: RunContext[object], query: Query) -> str:
        """Search what the caller has said in earlier conversations, and what is known of them.

        Use it when the caller refers to something that you do not see.
        """
        attached = attached_to(ctx.session)
        if attached is None:
            return NO_MEMORY
        return await tools.recall(attached.call.session, query) if attached.call.disclosed else WITHHELD

    @function_tool
    async def remember(self, ctx: RunContext[object], fact: Fact) -> str:
        """Remember a fact about the caller for later conversations."""
        attached = attached_to(ctx.session)
        return NO_MEMORY if attached is None else tools.remember(attached.call.session, fact)

    @function_tool
    async def forget(self, ctx: RunContext[object], fact: KnownFact) -> str:
        """Forget a fact about the caller for good, when they ask for that."""
        attached = attached_to(ctx.session)
        if attached is None:
            return NO_MEMORY
        return await tools.forget(attached.call.session, fact) if attached.call.disclosed else WITHHELD
