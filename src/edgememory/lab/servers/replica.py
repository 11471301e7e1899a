"""A streaming replica of a Postgres of the lab."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from edgememory.embedded import Version
from edgememory.lab.servers.lifetime import started
from edgememory.lab.servers.postgres import LabPostgres, PostgresServer

_LOOK = 0.01
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class _BaseBackup:
    """A copy of a running server, which then follows it on *port*."""

    primary: PostgresServer
    port: int | None

    @property
    def version(self) -> Version:
        return self.primary.version

    def password(self) -> str:
        return self.primary.password

    def command(self, binaries: Path, folder: Path, password_file: Path) -> Sequence[str]:
        dsn = f"postgresql://postgres:{self.password()}@127.0.0.1:{self.port or self.primary.port}/"
        argv = [str(binaries / "pg_basebackup"), "-D", str(folder), "-d", dsn]
        return [*argv, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]


class ReplicaServer(LabPostgres):
    """A read-only copy of a `PostgresServer`, all its databases, as far behind as one likes.

    It follows its primary on *upstream_port*, the primary's own unless a `Link` stands between: cutting that link
    cuts the replica off. Its commands are in effect when they return.
    """

    _OWN: Mapping[str, str] = {
        "wal_retrieve_retry_interval": "100ms",  # after a cut; the default of 5 s spares servers that stay away
        # Reads of one that lags are not cancelled because the primary has vacuumed what they still see.
        "hot_standby_feedback": "on",
    }

    def __init__(self, primary: PostgresServer, *, upstream_port: int | None = None) -> None:
        self.primary = primary
        # The primary's too: a replica with fewer connections than its primary does not start.
        super().__init__(_BaseBackup(primary, upstream_port), {**primary.settings, **self._OWN})

    def set_lag(self, seconds: float) -> None:
        """Let it replay each commit no sooner than *seconds* after it was made; 0 lets it follow at once."""
        lag = f"{seconds * 1000:.0f}"
        self.ask(f"ALTER SYSTEM SET recovery_min_apply_delay = {lag}")
        self.ask("SELECT pg_reload_conf()")
        self._until("SELECT setting FROM pg_settings WHERE name = 'recovery_min_apply_delay'", lag)

    def pause(self) -> None:
        """Stop replaying; what the primary writes is received all the same.

        Not for one with a lag: that would first wait until it is over.
        """
        self.ask("SELECT pg_wal_replay_pause()")
        self._until("SELECT pg_get_wal_replay_pause_state()", "paused")

    def resume(self) -> None:
        self.ask("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a primary of its own, which follows nobody: as an operator does, or a failover by mistake."""
        self.ask("SELECT pg_promote(wait => false)")
        self._until("SELECT pg_is_in_recovery()", "f")

    def catch_up(self, timeout: float = 10.0) -> None:
        """Wait until it has replayed what the primary had written when this was called.

        Raises:
            TimeoutError: it has not, after *timeout* seconds.
        """
        self._until(f"SELECT pg_last_wal_replay_lsn() >= '{self.primary.written()}'", "t", timeout)

    def _until(self, question: str, answer: str, timeout: float = _PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while (found := self.ask(question)) != answer:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{question}: still {found!r} after {timeout:g} s. Is the replica cut off (heal its link), paused"
                    " (resume), promoted, or does it lag by more than that on purpose (set_lag)?"
                )
            time.sleep(_LOOK)


def replica_server(
    primary: PostgresServer, *, upstream_port: int | None = None
) -> AbstractAsyncContextManager[ReplicaServer]:
    """Run a `ReplicaServer` for the duration of the block."""
    return started(ReplicaServer(primary, upstream_port=upstream_port))
