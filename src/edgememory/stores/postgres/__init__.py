"""Postgres as the origin: the database that orders all writes."""

try:
    from edgememory.stores.postgres.migrations import Applied, migrate
    from edgememory.stores.postgres.primary import PostgresPrimary
except ModuleNotFoundError as error:
    if error.name != "asyncpg":
        raise
    raise ImportError("PostgresPrimary needs asyncpg: pip install 'edgememory[postgres]'") from error

__all__ = ["Applied", "PostgresPrimary", "migrate"]
