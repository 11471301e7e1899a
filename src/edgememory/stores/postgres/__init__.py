"""Postgres as the origin, the database that orders all writes, and as its replicas."""

try:
    from edgememory.stores.postgres.migrations import Applied, migrate
    from edgememory.stores.postgres.primary import PostgresPrimary
    from edgememory.stores.postgres.replica import PostgresReplica
except ModuleNotFoundError as error:
    if error.name != "asyncpg":
        raise
    raise ImportError("PostgresPrimary and PostgresReplica need asyncpg: pip install 'edgememory[postgres]'") from error

__all__ = ["Applied", "PostgresPrimary", "PostgresReplica", "migrate"]
