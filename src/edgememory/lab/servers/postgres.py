"""Postgres, the origin."""

import signal
import subprocess
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal

from edgememory.embedded import NO_SETTINGS, EmbeddedPostgres, InitialData, NewDatabase, Version
from edgememory.lab.servers.lifetime import started, temporary_folder

StopMode = Literal["fast", "immediate", "kill"]

_SIGNALS: Mapping[StopMode, signal.Signals] = {
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
    "kill": signal.SIGKILL,
}


class LabPostgres:
    """A Postgres that keeps nothing: the embedded one, in a temporary folder, not waiting for the disk."""

    def __init__(self, data: InitialData, settings: Mapping[str, str]) -> None:
        self.settings = settings
        self._postgres = EmbeddedPostgres(temporary_folder(), data=data, settings=settings, temporary=True)

    @property
    def port(self) -> int:
        return self._postgres.port

    @property
    def pid(self) -> int:
        """For signals. A SIGSTOP suspends the postmaster only: nobody new gets in, open connections go on."""
        return self._postgres.server.pid

    @property
    def password(self) -> str:
        return self._postgres.password

    @property
    def dsn(self) -> str:
        return self._postgres.dsn

    def dsn_of(self, database: str) -> str:
        return self._postgres.dsn_of(database)

    def start(self) -> None:
        self._postgres.open()

    def close(self) -> None:
        self._postgres.close()

    def stop(self, mode: StopMode = "fast") -> None:
        """Take it away from its clients; `restart` brings it back on the same port, with its data."""
        self._postgres.server.stop(_SIGNALS[mode])

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start it; when it was stopped already, only start it."""
        self.stop(mode)
        self._postgres.server.restart()

    def ask(self, statement: str) -> str:
        """Run one statement as the superuser, and return what `psql` prints of its result."""
        argv = [str(self._postgres.binaries / "psql"), "--no-psqlrc", "--quiet", "--no-align", "--tuples-only"]
        argv += ["--command", statement, self.dsn]
        done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{statement}: {done.stderr.strip()}")
        return done.stdout.strip()


class PostgresServer(LabPostgres):
    """A Postgres of its own for a test or the lab; what it holds goes with it. A `ReplicaServer` may follow it."""

    _OWN: Mapping[str, str] = {
        # What nobody keeps need not reach the disk: it survives a crash of the server all the same, not one of the
        # machine. (With synchronous_commit off, a crash of the server would lose what it had acknowledged.)
        "fsync": "off",
        "full_page_writes": "off",
        # A replica that was cut off finds what it missed when it comes back.
        "wal_keep_size": "256MB",
        # A fast stop waits for as long as that for a replica behind a link that hangs.
        "wal_sender_timeout": "5s",
    }

    def __init__(self, *, version: Version = 18, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        self.version: Version = version
        super().__init__(NewDatabase(version, ["--no-sync"]), {**self._OWN, **settings})

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Copy *template* (nobody may be connected to it) and return the new database's dsn."""
        self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.dsn_of(name)

    def drop_database(self, name: str) -> None:
        """Drop it, with the connections it still has."""
        self.ask(f'DROP DATABASE "{name}" WITH (FORCE)')

    def written(self) -> str:
        """Return how far its log goes (an LSN): what a replica has to replay to be up to date."""
        return self.ask("SELECT pg_current_wal_flush_lsn()")


def postgres_server(
    *, version: Version = 18, settings: Mapping[str, str] = NO_SETTINGS
) -> AbstractAsyncContextManager[PostgresServer]:
    """Run a `PostgresServer` for the duration of the block."""
    return started(PostgresServer(version=version, settings=settings))
