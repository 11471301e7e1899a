"""The bugs: what cache libraries really get wrong, as substitutions in the source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """*old* stands exactly once in *path* (under `src/edgememory`); *new* takes its place."""

    name: str
    path: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "no version check in fill",
        "stores/memory.py",
        "if present.order > order:",
        "if False:",
    ),
    Mutant(
        "bare delete for a tombstone",
        "stores/memory.py",
        "        size = _size(entry)\n",
        "        if entry.snapshot.is_tombstone:\n            return True\n        size = _size(entry)\n",
    ),
    Mutant(
        "acknowledged before the origin answered",
        "outbox/delivery.py",
        "        committed = await self._ask_origin(claim.user, changes)\n",
        "        await self._outbox.ack(claim, [change.id for change in changes], 0)\n"
        "        committed = await self._ask_origin(claim.user, changes)\n",
    ),
    Mutant(
        "ages add up: restamped in process memory",
        "tiered.py",
        "        held = self._near.peek(user)\n        is_newer",
        "        from msgspec.structs import replace\n"
        "        entry = replace(entry, synced_at=round(self._now(), 6))\n"
        "        held = self._near.peek(user)\n        is_newer",
    ),
    Mutant(
        "ages add up: restamped in the caches",
        "walk.py",
        "        keep = keep_for(entry, self.policy)\n",
        "        from msgspec.structs import replace\n"
        "        entry = replace(entry, synced_at=round(self.now(), 6))\n"
        "        keep = keep_for(entry, self.policy)\n",
    ),
    Mutant(
        "single flight that cancels everyone",
        "single_flight.py",
        "if self._waiters == 1 and not self._kept and not self.landed:",
        "if not self.landed:",
    ),
    Mutant(
        "process memory keyed without the namespace",
        "stores/memory.py",
        "        self._held: OrderedDict[UserKey, Held] = OrderedDict()\n",
        "        class ByUserId(OrderedDict):\n"
        "            def get(self, user):\n"
        "                return super().get(user.user_id)\n"
        "            def __setitem__(self, user, held):\n"
        "                super().__setitem__(user.user_id, held)\n"
        "            def move_to_end(self, user):\n"
        "                super().move_to_end(user.user_id)\n"
        "            def pop(self, user):\n"
        "                return super().pop(getattr(user, 'user_id', user))\n"
        "        self._held = ByUserId()\n",
    ),
    Mutant(
        "process memory confirms itself",
        "walk.py",
        "if found.tier != NEAR:",
        "if True:",
    ),
    Mutant(
        'a replica\'s "no such user" is believed',
        "walk.py",
        "if entry is not None and not entry.snapshot.exists and not entry.snapshot.is_tombstone:",
        "if False:",
    ),
    Mutant(
        "leaving believes an append that began before it",
        "outbox/writer.py",
        "queue.answered > self._begun",
        "queue.answered >= self._begun",
    ),
    Mutant(
        "a receipt before the replica has replayed",
        "deletion.py",
        "    if answer.snapshot.version < version:\n        return Cleared(",
        "    if False:\n        return Cleared(",
    ),
    Mutant(
        "the writer dies with whoever opened it",
        "background.py",
        "with anyio.CancelScope(shield=True):\n            async with",
        "with anyio.CancelScope():\n            async with",
    ),
)
