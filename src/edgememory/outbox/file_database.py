"""Opening the file outbox's SQLite file."""

from pathlib import Path
from sqlite3 import Connection

from edgememory.errors import StoreBlockedError
from edgememory.outbox.file_sql import FORMAT, SCHEMA
from edgememory.sqlite_file import BUSY_SECONDS, connect, make, transaction, use_wal

WAL_BYTES = 16 * 1024 * 1024
"""What a WAL that grew in a burst is cut back to at its next reset."""


def open_writer(path: Path) -> Connection:
    """Open the file, made if need be, and durable before anything is written to it."""
    make(path)
    connection = connect(path, BUSY_SECONDS)
    try:
        _check_format(connection, path)
        use_wal(connection)
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        if not _format(connection):  # to look needs no lock, which another process may hold for long
            transaction(connection, _make_schema)
        connection.execute("PRAGMA busy_timeout = 0")  # from here on `transaction` waits
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> Connection:
    """Open the file for reads that rather fail than wait."""
    connection = connect(path, 0.0)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _check_format(connection: Connection, path: Path) -> None:
    found = _format(connection)
    if found > FORMAT:
        # Not a ConfigError: the file is opened when it is first used, and a session must open in any case.
        raise StoreBlockedError(
            f"{path} was written by a newer edgememory (format {found}; this one knows {FORMAT}):"
            " upgrade edgememory here, or set outbox.path to a file of its own",
            store="file_outbox",
            operation="open",
        )


def _format(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make_schema(connection: Connection) -> None:
    if not _format(connection):
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
