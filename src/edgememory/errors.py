"""Every error that edgememory raises, and the one place where a driver's errors become ours."""

from collections.abc import Mapping
from types import TracebackType


class EdgeMemoryError(Exception):
    """What all errors of this library are."""


class ConfigError(EdgeMemoryError, ValueError):
    """The configuration is wrong. Names the setting and what it must be."""


class InvalidInputError(EdgeMemoryError, ValueError):
    """The caller's input is wrong. Raised before any I/O; names the limit."""


class CorruptEntryError(EdgeMemoryError):
    """Bytes from a cache were no entry. A read counts it and treats it as a miss."""


class OutboxFullError(EdgeMemoryError):
    """The outbox takes no more changes until some are delivered."""


class NotDurableError(EdgeMemoryError):
    """Changes are still in process memory only: a crash now would lose them."""


class NotCommittedError(EdgeMemoryError):
    """A session's changes did not all reach the origin: some were dropped, refused, or still wait."""


class StoreError(EdgeMemoryError):
    """A store failed. `__cause__` is the driver's error."""

    def __init__(self, message: str, *, store: str, operation: str) -> None:
        super().__init__(f"{store}.{operation}: {message}")
        self.store = store
        self.operation = operation


class StoreUnavailableError(StoreError):
    """The store could not be reached or did not answer: a retry may help."""


class StoreBlockedError(StoreError):
    """Authentication, schema, quota or disk: an operator must act."""


class StoreRejectedError(StoreError):
    """The store does not take this value: a retry will not help."""


ErrorMap = Mapping[type[BaseException], type[StoreError]]
"""Driver errors to ours. The most derived class that is listed decides."""


class translated:  # noqa: N801 - used as a `with` statement, where lower case reads as a verb
    """Turn a driver's errors into ours: `with translated(_ERRORS, store="redis", operation="get"): ...`.

    Timeouts and operating-system errors mean `StoreUnavailableError` on every backend. What no table
    lists is let through: it is a bug, and must not look like an outage.
    """

    def __init__(self, errors: ErrorMap, *, store: str, operation: str) -> None:
        self._errors = errors
        self._store = store
        self._operation = operation

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or error is None or isinstance(error, EdgeMemoryError):
            return
        for ancestor in kind.__mro__:
            ours = self._errors.get(ancestor) or _EVERYWHERE.get(ancestor)
            if ours is not None:
                message = str(error) or kind.__name__
                raise ours(message, store=self._store, operation=self._operation) from error


_EVERYWHERE: ErrorMap = {OSError: StoreUnavailableError, TimeoutError: StoreUnavailableError}
