"""Cancel a coroutine at each of its awaits in turn."""

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


@coroutine
def cancelled_at(
    await_number: int, cancel: Callable[[], object], work: Coroutine[Any, Any, T]
) -> Generator[Any, Any, tuple[T, bool]]:
    """Run *work*, and call *cancel* while it waits for the *await_number*-th time.

    Return its result, and whether it waited that often.
    """
    sent: Any = None
    error: BaseException | None = None
    waited = 0
    while True:
        try:
            trap = work.send(sent) if error is None else work.throw(error)
        except StopIteration as ended:
            return ended.value, waited >= await_number
        waited += 1
        if waited == await_number:
            cancel()
        sent = error = None
        try:
            sent = yield trap
        except BaseException as raised:
            error = raised
