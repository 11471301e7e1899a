"""What Postgres' errors mean to us."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from edgememory.errors import (
    ErrorMap,
    StoreBlockedError,
    StoreRejectedError,
    StoreUnavailableError,
    translated,
)

_ERRORS: ErrorMap = {
    asyncpg.DataError: StoreRejectedError,
    asyncpg.IntegrityConstraintViolationError: StoreRejectedError,
    asyncpg.ProgramLimitExceededError: StoreRejectedError,
    asyncpg.PostgresConnectionError: StoreUnavailableError,
    asyncpg.InsufficientResourcesError: StoreUnavailableError,  # too many connections, among others
    asyncpg.OperatorInterventionError: StoreUnavailableError,  # shutdown, restart, statement_timeout
    asyncpg.TransactionRollbackError: StoreUnavailableError,  # deadlock, serialization
    asyncpg.ObjectNotInPrerequisiteStateError: StoreUnavailableError,  # lock_timeout
    asyncpg.InvalidTransactionStateError: StoreUnavailableError,
    asyncpg.PostgresSystemError: StoreUnavailableError,
    asyncpg.InterfaceError: StoreUnavailableError,
    asyncpg.InternalClientError: StoreUnavailableError,  # asked while the server's farewell was being read
    asyncpg.DiskFullError: StoreBlockedError,
    asyncpg.InvalidAuthorizationSpecificationError: StoreBlockedError,
    asyncpg.InvalidCatalogNameError: StoreBlockedError,
    asyncpg.InvalidSchemaNameError: StoreBlockedError,
    asyncpg.SyntaxOrAccessError: StoreBlockedError,  # privileges, among others
    asyncpg.ReadOnlySQLTransactionError: StoreBlockedError,
    asyncpg.InternalServerError: StoreBlockedError,  # corruption
    asyncpg.ClientConfigurationError: StoreBlockedError,
}

# Read-only is blocked, although a failover passes: what is blocked is retried too, on a new connection, which finds the
# new primary. A replica's address in the configuration, or a provider's answer to a full disk, needs an operator.
_EXPLAINED: dict[type[asyncpg.PostgresError], str] = {
    asyncpg.InvalidSchemaNameError: "the database has no schema edgememory: run `edgememory migrate`",
    asyncpg.UndefinedFunctionError: "the database's schema is older than this program: run `edgememory migrate`",
    asyncpg.UndefinedTableError: "the database's schema is older than this program: run `edgememory migrate`",
    asyncpg.ReadOnlySQLTransactionError: "the server is read-only: a replica, or its disk is full",
}


@contextmanager
def postgres_errors(operation: str, *, store: str = "postgres") -> Generator[None]:
    with translated(_ERRORS, store=store, operation=operation):
        try:
            yield
        except tuple(_EXPLAINED) as error:
            raise StoreBlockedError(f"{_EXPLAINED[type(error)]} ({error})", store=store, operation=operation) from error
