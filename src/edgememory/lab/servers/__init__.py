"""Real servers for tests and the lab, each in a temporary folder. None survives the process that started it.

The methods of the servers block (a restart of Postgres for a tenth of a second): a coroutine calls them in a
worker thread.
"""

from edgememory.lab.servers.postgres import PostgresServer, StopMode, postgres_server
from edgememory.lab.servers.redis import RedisServer, redis_server
from edgememory.lab.servers.replica import ReplicaServer, replica_server

__all__ = [
    "PostgresServer",
    "RedisServer",
    "ReplicaServer",
    "StopMode",
    "postgres_server",
    "redis_server",
    "replica_server",
]
