"""The file outbox's tables, and what is done to them: each function here runs inside one transaction."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from secrets import token_urlsafe
from sqlite3 import Connection

from edgememory.changes import Change
from edgememory.models import Claim, DeadLetter, Depth, Pending, UserKey
from edgememory.outbox.stored import UNREADABLE, decode, encode, portion

FORMAT = 1
"""`PRAGMA user_version`. Raise it for a new kind of change too: older readers would take it for damage."""

FLOOR_SECONDS = 90 * 86_400.0
FLOORS = 100_000
PRUNE_EVERY = 1_000

# `due`: since when the user waits to be claimed; if leased, the end of the lease; NULL if nothing waits.
SCHEMA = """
CREATE TABLE users (
    user INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    user_id TEXT NOT NULL,
    floor INTEGER NOT NULL DEFAULT 0,
    used_at REAL NOT NULL,
    due REAL,
    token TEXT,
    lease REAL,
    UNIQUE (namespace, user_id)
);
CREATE INDEX users_waiting ON users (due) WHERE due IS NOT NULL;
CREATE INDEX users_idle ON users (used_at) WHERE due IS NULL;
CREATE TABLE changes (
    user INTEGER NOT NULL,
    id TEXT NOT NULL,
    appended_at REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (user, id)
) WITHOUT ROWID;
CREATE TABLE dead (
    number INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    user_id TEXT NOT NULL,
    id TEXT NOT NULL,
    body BLOB NOT NULL,
    error TEXT NOT NULL,
    at REAL NOT NULL
);
"""

# One statement, so that both are of one moment: what is no longer among the changes is below the floor.
_PENDING = """
SELECT floor, id, body FROM users LEFT JOIN changes USING (user)
WHERE namespace = ? AND user_id = ? ORDER BY id
"""

# A lease that began further in the future than its own length was taken before the clock was set back.
_CLAIMABLE = """
SELECT user, namespace, user_id FROM users
WHERE due IS NOT NULL AND (token IS NULL OR due <= :now OR due - 2 * lease >= :now)
ORDER BY due LIMIT :limit
"""

_LEASE = "UPDATE users SET token = ?, lease = ?, due = ? WHERE user = ?"

_RELEASE = """
UPDATE users SET token = NULL, lease = NULL,
    due = CASE WHEN EXISTS (SELECT 1 FROM changes WHERE changes.user = users.user) THEN :now END
WHERE user = :user AND token = :token
"""

_BODIES = "SELECT id, body FROM changes WHERE user = ? ORDER BY id"
_BURY = "INSERT INTO dead (namespace, user_id, id, body, error, at) VALUES (?, ?, ?, ?, ?, ?)"


def append(connection: Connection, user: UserKey, changes: Sequence[Change], now: float) -> None:
    number = _number(connection, user, now)
    connection.execute(
        "UPDATE users SET used_at = :now, due = coalesce(due, :now) WHERE user = :user",
        {"now": now, "user": number},
    )
    connection.executemany(
        "INSERT INTO changes (user, id, appended_at, body) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        ((number, change.id, now, encode(change)) for change in changes),
    )


def pending(connection: Connection, user: UserKey) -> Pending:
    # All rows are fetched: a half-read cursor would hold its snapshot, and the WAL could not be reset.
    rows = connection.execute(_PENDING, (user.namespace, user.user_id)).fetchall()
    if not rows:
        return Pending()
    changes = (decode(id, body) for _, id, body in rows if id is not None)
    return Pending(tuple(change for change in changes if change is not None), rows[0][0])


def claim(connection: Connection, *, lease: float, limit: int, now: float) -> list[Claim]:
    claims: list[Claim] = []
    # Once more where a user had nothing readable, or nothing left: such a user waits no longer, so this ends.
    while len(claims) < limit:
        found = connection.execute(_CLAIMABLE, {"now": now, "limit": limit - len(claims)}).fetchall()
        if not found:
            break
        for number, namespace, user_id in found:
            changes = _first_changes(connection, number, UserKey(namespace, user_id), now)
            if changes:
                claims.append(Claim(UserKey(namespace, user_id), changes, token_urlsafe(12)))
                connection.execute(_LEASE, (claims[-1].token, lease, now + lease, number))
            else:
                connection.execute(_LEASE, (None, None, None, number))
    return claims


def ack(connection: Connection, claim: Claim, ids: Sequence[str], version: int, now: float) -> None:
    number = _number(connection, claim.user, now)
    connection.executemany("DELETE FROM changes WHERE user = ? AND id = ?", ((number, id) for id in ids))
    connection.execute("UPDATE users SET floor = max(floor, ?), used_at = ? WHERE user = ?", (version, now, number))
    _settle(connection, claim, number, now)


def reject(connection: Connection, claim: Claim, ids: Sequence[str], error: str, now: float) -> None:
    number = _number(connection, claim.user, now)
    _bury(connection, claim.user, number, ids, error, now)
    _settle(connection, claim, number, now)


def size(connection: Connection) -> int:
    """Return how many bytes of the file are in use."""
    pages, free, page_bytes = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page_bytes


def depth(connection: Connection, now: float) -> Depth:
    changes, users, oldest, dead = connection.execute(
        "SELECT count(*), count(DISTINCT user), min(appended_at), (SELECT count(*) FROM dead) FROM changes"
    ).fetchone()
    age = None if oldest is None else max(0.0, now - oldest)
    return Depth(changes=changes, users=users, dead=dead, oldest_age=age)


def dead_letters(connection: Connection, limit: int) -> list[DeadLetter]:
    rows = connection.execute(
        "SELECT namespace, user_id, id, body, error, at FROM dead ORDER BY number DESC LIMIT ?", (limit,)
    ).fetchall()
    return [
        DeadLetter(user=UserKey(namespace, user_id), id=id, body=bytes(body), error=error, at=at)
        for namespace, user_id, id, body, error, at in rows
    ]


def _number(connection: Connection, user: UserKey, now: float) -> int:
    """Return the user's row, made if need be."""
    found = connection.execute(
        "SELECT user FROM users WHERE namespace = ? AND user_id = ?", (user.namespace, user.user_id)
    ).fetchone()
    if found is not None:
        return int(found[0])
    number = int(connection.execute("SELECT coalesce(max(user), 0) + 1 FROM users").fetchone()[0])
    # Counted in the file, so that it happens too where each process lives for one call only.
    if number % PRUNE_EVERY == 0:
        _prune(connection, now)
    connection.execute(
        "INSERT INTO users (user, namespace, user_id, used_at) VALUES (?, ?, ?, ?)",
        (number, user.namespace, user.user_id, now),
    )
    return number


def _prune(connection: Connection, now: float) -> None:
    """Forget the floors of users who have nothing waiting, the least recently used first."""
    connection.execute("DELETE FROM users WHERE due IS NULL AND used_at < ?", (now - FLOOR_SECONDS,))
    connection.execute(
        "DELETE FROM users WHERE user IN"
        " (SELECT user FROM users WHERE due IS NULL ORDER BY used_at DESC LIMIT -1 OFFSET ?)",
        (FLOORS,),
    )


def _first_changes(connection: Connection, number: int, user: UserKey, now: float) -> tuple[Change, ...]:
    """Return what one claim carries. What cannot be read becomes a dead letter: it must hold up nothing."""
    with closing(connection.execute(_BODIES, (number,))) as rows:
        changes, unreadable = portion(rows)
    _bury(connection, user, number, unreadable, UNREADABLE, now)
    return changes


def _settle(connection: Connection, claim: Claim, number: int, now: float) -> None:
    """Release the claim's lease, if it is still its own and nothing that it carried is left."""
    left = {id for (id,) in connection.execute("SELECT id FROM changes WHERE user = ?", (number,))}
    if left.isdisjoint(change.id for change in claim.changes):
        connection.execute(_RELEASE, {"now": now, "user": number, "token": claim.token})


def _bury(connection: Connection, user: UserKey, number: int, ids: Iterable[str], error: str, now: float) -> None:
    for id in ids:
        key = (number, id)
        row = connection.execute("SELECT body FROM changes WHERE user = ? AND id = ?", key).fetchone()
        if row is not None:
            connection.execute("DELETE FROM changes WHERE user = ? AND id = ?", key)
            connection.execute(_BURY, (user.namespace, user.user_id, id, row[0], error, now))
