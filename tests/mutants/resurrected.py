"""Bugs that bring a deleted user back, or keep out one who is back."""

from tests.mutants.mutant import Mutant

_HOST_TIER = ("tests/stateful/test_tiered_host.py",)
_HOST = ("tests/contract/test_host_store.py", "tests/unit/test_host_tier.py")
_POSTGRES = ("tests/contract/test_postgres_primary.py",)

NO_RESURRECTION = (
    Mutant(
        "bare delete for a tombstone",
        "stores/memory.py",
        "        size = _size(entry)\n",
        "        if entry.snapshot.is_tombstone:\n            return True\n        size = _size(entry)\n",
    ),
    Mutant(
        "a receipt before the replica has replayed",
        "deletion.py",
        "    if answer.snapshot.version < version:\n        return Cleared(",
        "    if False:\n        return Cleared(",
    ),
    Mutant(
        "a receipt for others who look where it is not cleared",
        "deletion.py",
        "if not store.cleared and store.store not in near]:",
        "if False]:",
    ),
    Mutant(
        "a deletion drops nothing that arrives late",
        "apply.py",
        "    return change.base >= snapshot.erased_at\n",
        "    return True\n",
    ),
    Mutant(
        "a session outlives its user",
        "view.py",
        "        if saw_the_deleted and self.started < entry.snapshot.erased_time:\n",
        "        if False:\n",
    ),
    Mutant(
        "a session that ends while it is left shows the deleted",
        "stay.py",
        "if entry is not None and not self.view.ended:",
        "if entry is not None:",
    ),
    Mutant(
        "a cache that was not asked counts as cleared",
        "tier.py",
        'raise StoreUnavailableError("not asked: it failed just now", store=self.name, operation=operation)',
        "return None",
    ),
    Mutant(
        "what waits is shown in spite of a deletion",
        "look.py",
        " if survives(change, deletion))",
        ")",
    ),
    Mutant(
        "what was deleted is a last resort",
        "walk.py",
        "if found.entry.snapshot.version >= self._erased_at:",
        "if True:",
    ),
    Mutant(
        "the Worker answers before KV has the tombstone",
        "cloudflare/worker.js",
        "kvFailed: isTombstone && !(await this.writeBehind())",
        "kvFailed: false",
        ("tests/integration/test_worker_entries.py",),
    ),
    Mutant(
        "Postgres keeps no tombstone",
        "stores/postgres/sql/0003_write.sql",
        "        erased_at = held.version, erased_time",
        "        erased_at = 0, erased_time",
        _POSTGRES,
    ),
    Mutant(
        "a session that is left confirms what it was opened on",
        "tiered.py",
        "return 0.0 if held is None else held.expires_at - self._monotonic()",
        "return math.inf",
        _HOST_TIER,
    ),
    Mutant(
        "a process keeps what its host had confirmed for as long again",
        "tiered.py",
        "min(self._policy.near_keep - unconfirmed, left)",
        "self._policy.near_keep",
        _HOST_TIER,
    ),
    Mutant(
        "what is learned from the host counts as confirmed",
        "tiered.py",
        "self.hold(user, found.entry, unconfirmed=found.unconfirmed, left=found.left)",
        "self.hold(user, found.entry)",
        _HOST_TIER,
    ),
    Mutant(
        "the host's cache drops tombstones for want of room",
        "stores/host_sql.py",
        " (SELECT key FROM entries WHERE NOT erased ORDER BY filled_at LIMIT 16)",
        " (SELECT key FROM entries ORDER BY filled_at LIMIT 16)",
        _HOST,
    ),
    Mutant(
        "a tombstone that nobody confirms hides for long who is back",
        "walk.py",
        "found.entry.snapshot.is_tombstone and found.unconfirmed >= policy.near_keep",
        "found.unconfirmed == inf",
        _HOST_TIER,
    ),
    Mutant(
        "a tombstone that nobody confirms keeps nothing out",
        "walk.py",
        "self._at_least = max(self._at_least, found.entry.snapshot.version)",
        "self._at_least = max(self._at_least, 0)",
        _HOST_TIER,
    ),
)
