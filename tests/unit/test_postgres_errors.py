import asyncpg
import pytest

from edgememory.errors import StoreBlockedError, StoreError, StoreRejectedError, StoreUnavailableError
from edgememory.stores.postgres.errors import postgres_errors


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (asyncpg.DiskFullError, StoreBlockedError),
        (asyncpg.IndexCorruptedError, StoreBlockedError),
        (asyncpg.TooManyConnectionsError, StoreUnavailableError),
        (asyncpg.OutOfMemoryError, StoreUnavailableError),
        (asyncpg.CannotConnectNowError, StoreUnavailableError),
        (asyncpg.AdminShutdownError, StoreUnavailableError),
        (asyncpg.CrashShutdownError, StoreUnavailableError),
        (asyncpg.DeadlockDetectedError, StoreUnavailableError),
        (asyncpg.SerializationError, StoreUnavailableError),
        (asyncpg.LockNotAvailableError, StoreUnavailableError),
        (asyncpg.ConnectionDoesNotExistError, StoreUnavailableError),
        (asyncpg.IdleInTransactionSessionTimeoutError, StoreUnavailableError),
        (asyncpg.InternalClientError, StoreUnavailableError),
        (ConnectionResetError, StoreUnavailableError),
        (TimeoutError, StoreUnavailableError),
        (asyncpg.NumericValueOutOfRangeError, StoreRejectedError),
        (asyncpg.CheckViolationError, StoreRejectedError),
        (asyncpg.StatementTooComplexError, StoreRejectedError),
    ],
)
def test_what_no_test_can_cause_is_in_the_table(error: type[Exception], ours: type[StoreError]) -> None:
    with pytest.raises(ours) as caught, postgres_errors("commit"):
        raise error("says why")
    assert str(caught.value) == "postgres.commit: says why"
    assert isinstance(caught.value.__cause__, error)
