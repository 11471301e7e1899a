"""Memory as tools of the model."""

from pipecat.adapters.llm.schemas.direct_function import DirectFunction
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.services.llm_service import FunctionCallParams

from edgememory.integrations import tools
from edgememory.integrations.pipecat.service import EdgeMemoryService


def memory_tools(service: EdgeMemoryService) -> list[FunctionSchema | DirectFunction]:
    """Return the direct functions `recall`, `remember` and `forget`, for `LLMContext(tools=...)`.

    `recall` searches the whole history, and so does `forget` for a fact that is not at hand: while the model waits, up
    to a second, it may say so. All else costs nothing.
    """

    async def recall(params: FunctionCallParams, query: str) -> None:
        """Search what the caller has said in earlier conversations, and what is known of them.

        Use it when the caller refers to something that you do not see.

        Args:
            params: of the call.
            query: What to look for, in the words in which it may have been said.
        """
        await params.result_callback(await tools.recall(service.session, query))

    async def remember(params: FunctionCallParams, fact: str) -> None:
        """Remember a fact about the caller for later conversations.

        Args:
            params: of the call.
            fact: One short sentence that makes sense by itself.
        """
        await params.result_callback(tools.remember(service.session, fact))

    async def forget(params: FunctionCallParams, fact: str) -> None:
        """Forget a fact about the caller for good, when they ask for that.

        Args:
            params: of the call.
            fact: The fact as it is known, word for word, without its date.
        """
        await params.result_callback(await tools.forget(service.session, fact))

    return [recall, remember, forget]
