"""The bugs: what cache and queue libraries really get wrong, as substitutions in the source, by promise."""

from collections.abc import Mapping

from tests.mutants.in_pipecat import PIPECAT
from tests.mutants.mutant import Mutant
from tests.mutants.remembered import EXTRACTION, RECALL
from tests.mutants.resurrected import NO_RESURRECTION

_FILE_OUTBOX = ("tests/contract/test_file_outbox.py",)
_REDIS_OUTBOX = ("tests/contract/test_redis_outbox.py",)
_WORKER_CACHE = ("tests/contract/test_workers_kv.py",)
_WORKER_OUTBOX = ("tests/contract/test_workers_outbox.py",)
_HOST = ("tests/contract/test_host_store.py", "tests/unit/test_host_tier.py")

READ_YOUR_WRITES = (
    Mutant(
        "leaving believes an append that began before it",
        "outbox/writer.py",
        "queue.answered > self._begun",
        "queue.answered >= self._begun",
    ),
    Mutant(
        "opening does not ask the outbox's floor",
        "look.py",
        "at_least = max(at_least, pending.floor)",
        "at_least = max(at_least, 0)",
    ),
    Mutant(
        "opening does not show what waits in the outbox",
        "look.py",
        "for change in (*pending.changes, *queued)",
        "for change in queued",
    ),
    Mutant(
        "opening does not show what is not durable yet",
        "look.py",
        "for change in (*pending.changes, *queued)",
        "for change in pending.changes",
    ),
    Mutant(
        "a session that adopts a newer entry forgets its own changes",
        "view.py",
        "return {**self.waiting, **self.own}.values()",
        "return {**self.waiting}.values()",
    ),
    Mutant(
        "who joins a load takes what it says",
        "tiered.py",
        'return read is None or read.status == "degraded" or read.snapshot.version >= at_least',
        "return True",
    ),
    Mutant(
        "what a session says is not above what it has seen",
        "stay.py",
        "id=next_id(view.last_id),",
        "id=next_id(),",
    ),
    Mutant(
        "the file outbox forgets the floor",
        "outbox/file_sql.py",
        "SET floor = max(floor, ?)",
        "SET floor = min(floor, ?)",
        _FILE_OUTBOX,
    ),
    Mutant(
        "the host's cache goes back",
        "stores/host_sql.py",
        " WHERE (version, tentative, synced) <= (:version, :tentative, :synced)",
        " WHERE true",
        _HOST,
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
)

MONOTONIC_READS = (
    Mutant(
        "no version check in fill",
        "stores/memory.py",
        "if present.order > order:",
        "if False:",
    ),
    Mutant(
        "floors are not kept",
        "floors.py",
        "        self._floors[user] = floor\n",
        "        self._floors[user] = _NONE\n",
    ),
    Mutant(
        "process memory takes what is below the floor",
        "tiered.py",
        "        if entry.snapshot.version < self._floors.of(user).version:\n            return\n",
        "",
    ),
    Mutant(
        "a load's answer is given although a write has passed by",
        "tiered.py",
        "        if held is None or (read.entry is not None and held.order <= read.entry.order):\n",
        "        if True:\n",
    ),
    Mutant(
        "the Worker takes older entries",
        "cloudflare/worker.js",
        "compareOrders(present.order, order) > 0",
        "false",
        _WORKER_CACHE,
    ),
)

BOUNDED_STALENESS = (
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
        "        keep = tier.keep(entry, self.policy, left=left)\n",
        "        from msgspec.structs import replace\n"
        "        entry = replace(entry, synced_at=round(self.now(), 6))\n"
        "        keep = tier.keep(entry, self.policy, left=left)\n",
    ),
    Mutant(
        "process memory confirms itself",
        "walk.py",
        "if found.tier != NEAR and ",
        "if ",
    ),
    Mutant(
        "stale for ever",
        "freshness.py",
        "and age < policy.ttl + policy.stale_while_revalidate:",
        "and age < policy.stale_if_error:",
    ),
    Mutant(
        'a replica\'s "no such user" is believed',
        "walk.py",
        "if entry is not None and _is_mere_absence(entry):",
        "if False:",
    ),
    Mutant(
        'a refresh believes a replica\'s "no such user"',
        "walk.py",
        "(tier is tiers.origin or not _is_mere_absence(entry))",
        "True",
    ),
    Mutant(
        "process memory is confirmed by the host's cache",
        "tiered.py",
        "self._policy.near_ttl - unconfirmed",
        "self._policy.near_ttl",
        _HOST,
    ),
)

NOTHING_IS_LOST = (
    Mutant(
        "acknowledged before the origin answered",
        "outbox/delivery.py",
        "            committed = await self._ask_origin(claim.user, changes)\n"
        "        except StoreRejectedError as error:\n"
        "            if",
        "            await self._outbox.ack(claim, [change.id for change in changes], 0)\n"
        "            committed = await self._ask_origin(claim.user, changes)\n"
        "        except StoreRejectedError as error:\n"
        "            if",
    ),
    Mutant(
        "flush waits for one user's changes only",
        "outbox/writer.py",
        "for appended in [self.appended(user) for user in self._queues]:",
        "for appended in [self.appended(user) for user in self._queues][:1]:",
    ),
    Mutant(
        "one bad change buries the batch",
        "outbox/delivery.py",
        "            if len(changes) == 1:\n"
        "                await self._bury(claim, changes[0], error)\n"
        "            return len(changes) == 1\n",
        "            for change in changes:\n"
        "                await self._bury(claim, change, error)\n"
        "            return True\n",
    ),
    Mutant(
        "an acknowledgement takes what was appended meanwhile",
        "outbox/memory.py",
        "        for id in ids:\n            box.rows.pop(id, None)\n",
        "        box.rows.clear()\n",
    ),
    Mutant(
        "the writer dies with whoever opened it",
        "background.py",
        "with anyio.CancelScope(shield=True):\n                async with",
        "with anyio.CancelScope():\n                async with",
    ),
    Mutant(
        "what could not be appended is taken for durable",
        "outbox/writer.py",
        "                complete = False\n",
        "                complete = False\n                queue.changes.clear()\n",
    ),
    Mutant(
        "leaving is cancelled with the agent",
        "stay.py",
        "        with anyio.CancelScope(shield=True):\n            await left.wait()\n",
        "        await left.wait()\n",
    ),
    Mutant(
        "Redis: an acknowledgement takes the whole hash",
        "outbox/redis_lua.py",
        "  redis.call('HDEL', changes, id)\n",
        "  redis.call('DEL', changes)\n",
        _REDIS_OUTBOX,
    ),
    Mutant(
        "the Worker acknowledges what was appended meanwhile",
        "cloudflare/worker.js",
        'for (const id of ids) this.sql("DELETE FROM changes WHERE id = ?", id);\n    const outbox',
        'this.sql("DELETE FROM changes");\n    const outbox',
        _WORKER_OUTBOX,
    ),
)

ONE_LOAD = (
    Mutant(
        "single flight that cancels everyone",
        "single_flight.py",
        "if self._waiters == 1 and not self._kept and not self.landed:",
        "if not self.landed:",
    ),
    Mutant(
        "no single flight",
        "single_flight.py",
        "return None if flight is None or flight.cancelled else flight",
        "return None",
    ),
    Mutant(
        "a load ends with who hangs up, though others only ran out of time",
        "single_flight.py",
        "            self._kept = self._kept or not self.landed\n",
        "",
    ),
    Mutant(
        "a load that is over takes its successor's place away",
        "single_flight.py",
        "            if self._flights.get(key) is flight:\n                del",
        "            if key in self._flights:\n                del",
    ),
    Mutant(
        "who comes after a cancelled load inherits it",
        "single_flight.py",
        "return None if flight is None or flight.cancelled else flight",
        "return flight",
    ),
)

CONVERGENCE = (
    Mutant(
        "a refresh tells nobody",
        "walk.py",
        "        await tiers.offer_all(tiers.caches, user, newest)\n",
        "        pass\n",
    ),
    Mutant(
        "caches go on showing what was refused",
        "outbox/delivery.py",
        "        await self._raise_version(claim, change.id)\n",
        "",
    ),
    Mutant(
        "no version rises when a refused change is buried",
        "outbox/delivery.py",
        "        if refused:\n            await self._raise_version(claim)\n",
        "",
    ),
    Mutant(
        "what waited is laid over what came later",
        "stay.py",
        "if pending is None or self.view.base != seen:",
        "if pending is None:",
    ),
    Mutant(
        "a refused change stays in the session that made it",
        "view.py",
        "            self.own.pop(id, None)\n",
        "",
    ),
    Mutant(
        "an overlay that shows nothing new is tentative",
        "apply.py",
        "    if snapshot == entry.snapshot:\n        return entry\n",
        "",
    ),
)

NEVER_BREAKS = (
    Mutant(
        "opening raises when the outbox is away",
        "look.py",
        '        except StoreError as error:\n            _log.warning("memory is read without',
        '        except ZeroDivisionError as error:\n            _log.warning("memory is read without',
    ),
    Mutant(
        "an outbox that hangs takes all the time there is",
        "look.py",
        "    with anyio.CancelScope(deadline=started + timeout / 2):\n",
        "    with anyio.CancelScope():\n",
    ),
    Mutant(
        "leaving waits for ever",
        "stay.py",
        "with anyio.move_on_after(timeout):\n                    await self._hand_over",
        "with anyio.CancelScope():\n                    await self._hand_over",
    ),
    Mutant(
        "a task that fails takes the others along",
        "background.py",
        "        except Exception:\n            self._counters",
        "        except ZeroDivisionError:\n            self._counters",
    ),
    Mutant(
        "a bug in a driver breaks the read",
        "tier.py",
        "        except Exception as error:  # a bug",
        "        except ZeroDivisionError as error:  # a bug",
    ),
)

PROGRESS = (
    Mutant(
        "a refresh always loses against what is held",
        "tiered.py",
        "        is_newer = held is None or entry.order > held.order\n",
        "        is_newer = held is None\n"
        "        if held is not None and entry.order > held.order:\n"
        "            return\n",
    ),
    Mutant(
        "a breaker that never tries again",
        "breaker.py",
        "        if now < self.blocked_until:\n            return False\n",
        "        return False\n",
    ),
    Mutant(
        "delivery ends with the first failure of the outbox",
        "outbox/delivery.py",
        "                self._say_idle()\n"
        "                await anyio.sleep(backoff(failures))\n"
        "                continue\n",
        "                return\n",
    ),
    Mutant(
        "after an outage each change goes alone",
        "outbox/delivery.py",
        "at_once = 2 * len(batch) if is_settled",
        "at_once = 1 if is_settled",
    ),
    Mutant(
        "what an outage kept from its turn waits for the lease",
        "outbox/delivery.py",
        "        return failed + left\n",
        "        return failed\n",
    ),
    Mutant(
        "an outage is never over",
        "outbox/delivery.py",
        "if self._failures.pop(settled.user, None) is not None:",
        "if self._failures.get(settled.user, None) is not None:",
    ),
    Mutant(
        "a lease is for ever",
        "outbox/memory.py",
        "return self.token is None or self.due <= now or self.due - 2 * self.lease >= now",
        "return self.token is None",
    ),
)

ENDING = (
    Mutant(
        "closing waits for no task",
        "background.py",
        "                    await closing.wait()\n                    group.cancel_scope.cancel()\n",
        "                    await closing.wait()\n",
    ),
    Mutant(
        "who is cancelled closes nothing",
        "client.py",
        "        with anyio.CancelScope(shield=True):  # An agent",
        "        with anyio.CancelScope():  # An agent",
    ),
    Mutant(
        "closing does not wait for what is queued",
        "client.py",
        "            await runtime.writer.written()\n            if runtime.delivers:\n",
        "            if runtime.delivers:\n",
    ),
)

PLANTED: Mapping[str, tuple[Mutant, ...]] = {
    "read your writes": READ_YOUR_WRITES,
    "monotonic reads": MONOTONIC_READS,
    "bounded staleness": BOUNDED_STALENESS,
    "nothing acknowledged is lost": NOTHING_IS_LOST,
    "no resurrection": NO_RESURRECTION,
    "one load": ONE_LOAD,
    "convergence": CONVERGENCE,
    "an agent never breaks": NEVER_BREAKS,
    "progress": PROGRESS,
    "nothing goes on after close": ENDING,
    "recall": RECALL,
    "what a call leaves behind": EXTRACTION,
    "memory in Pipecat": PIPECAT,
}
"""By the promise that they break: the keys of `edgememory.testing.promises.PROMISES`, and two of no history."""
