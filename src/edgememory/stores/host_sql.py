"""The SQLite statements of the host's cache. Times are seconds since 1970: a file outlives the monotonic clock."""

from collections.abc import Iterable
from sqlite3 import Connection

from edgememory.models import Order

FORMAT = 1
SCHEMA = """
CREATE TABLE entries (
    key TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    tentative INTEGER NOT NULL,
    synced INTEGER NOT NULL,
    erased INTEGER NOT NULL,
    filled_at REAL NOT NULL,
    keep_until REAL NOT NULL,
    value BLOB NOT NULL
);

CREATE INDEX entries_by_filling ON entries (erased, filled_at);

CREATE TABLE size (bytes INTEGER NOT NULL);

INSERT INTO size VALUES (0);

CREATE TRIGGER entry_in AFTER INSERT ON entries BEGIN
    UPDATE size SET bytes = bytes + length(new.value) + length(new.key) + 100;
END;

CREATE TRIGGER entry_out AFTER DELETE ON entries BEGIN
    UPDATE size SET bytes = bytes - length(old.value) - length(old.key) - 100;
END;

CREATE TRIGGER entry_changed AFTER UPDATE OF value ON entries BEGIN
    UPDATE size SET bytes = bytes + length(new.value) - length(old.value);
END
"""
_AT_ONCE = 500
"""How many keys one statement asks for: SQLite takes at least 999 parameters."""


def find(connection: Connection, key: str, now: float) -> tuple[bytes, float, float] | None:
    """Return a user's value, when it was filled in, and until when it is kept."""
    row = connection.execute(
        "SELECT value, filled_at, keep_until FROM entries WHERE key = ? AND keep_until > ?", (key, now)
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def find_many(connection: Connection, keys: list[str], now: float) -> Iterable[tuple[str, bytes]]:
    """Return the values of those of *keys* that there are."""
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        yield from connection.execute(
            f"SELECT key, value FROM entries WHERE key IN ({marks}) AND keep_until > ?", (*some, now)
        )


def put(connection: Connection, key: str, value: bytes, order: Order, *, erased: bool, now: float, keep: float) -> bool:
    """Write *value* unless a newer one stands, and say whether it stands itself."""
    cursor = connection.execute(
        "INSERT INTO entries VALUES (:key, :version, :tentative, :synced, :erased, :now, :until, :value)"
        " ON CONFLICT (key) DO UPDATE SET version = :version, tentative = :tentative, synced = :synced,"
        " erased = :erased, filled_at = :now, keep_until = :until, value = :value"
        " WHERE (version, tentative, synced) <= (:version, :tentative, :synced) OR keep_until <= :now",
        {
            "key": key,
            "version": order[0],
            "tentative": order[1],
            "synced": order[2],
            "erased": erased,
            "now": now,
            "until": now + keep,
            "value": value,
        },
    )
    return cursor.rowcount == 1


def make_room(connection: Connection, max_bytes: int, now: float) -> None:
    """Drop what has expired, then what was not filled in for longest; never what is left of a deleted user."""
    if _bytes(connection) <= max_bytes:
        return
    connection.execute("DELETE FROM entries WHERE keep_until <= ?", (now,))
    while _bytes(connection) > max_bytes:
        dropped = connection.execute(
            "DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE NOT erased ORDER BY filled_at LIMIT 16)"
        )
        if dropped.rowcount == 0:
            return


def _bytes(connection: Connection) -> int:
    return int(connection.execute("SELECT bytes FROM size").fetchone()[0])
