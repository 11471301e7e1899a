"""Newer wins in Redis and in what speaks like it: the form of the values, and the script that compares them.

A value is a line with the entry's order, then its document. The order stands outside, so that the script need
not read the document, which may be sealed.
"""

from edgememory import codec
from edgememory.errors import CorruptEntryError
from edgememory.models import Entry
from edgememory.stores.lua import script

# An error that a script meets keeps its code at the front only from Redis 7 on. Before, it is
# "ERR Error running script (...): @user_script: 15: -OOM command not allowed ...".
SCRIPT = script("""\
local function order(value)
  local version, tentative, synced = string.match(value, '^(%d+)%.(%d+)%.(%d+)\\n')
  if not version then return {0, 0, 0} end -- absent or unreadable: as old as can be
  return {tonumber(version), tonumber(tentative), tonumber(synced)}
end

local offered = order(ARGV[1])
local present = order(redis.call('GETRANGE', KEYS[1], 0, 63))
for place = 1, 3 do
  if present[place] > offered[place] then return 0 end
  if present[place] < offered[place] then break end
end

local answer = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if answer.err then
  return redis.error_reply(string.match(answer.err, '%u%u%u+ .*') or answer.err)
end
return 1
""")
"""KEYS: the user's. ARGV: the value, milliseconds to keep it. Answers 1 if it stands, 0 if a newer does."""

_LONGEST_KEEP = 100 * 365 * 86_400.0


def to_value(entry: Entry) -> bytes:
    """Return the form in which *entry* is stored."""
    return _order_line(entry) + codec.encode(entry)


def from_value(value: bytes) -> Entry:
    """Return the entry that was stored as *value*.

    Raises:
        CorruptEntryError: it is no entry, or its order line is another entry's.
    """
    end = value.find(b"\n") + 1
    entry = codec.decode(value[end:])
    if value[:end] != _order_line(entry):
        raise CorruptEntryError("the order line is missing, or is not that of the entry")
    return entry


def keep_milliseconds(keep: float) -> int:
    """Return *keep* (seconds) as Redis takes it: at least a millisecond, at most a century."""
    return max(1, round(min(keep, _LONGEST_KEEP) * 1000))


def _order_line(entry: Entry) -> bytes:
    return b"%d.%d.%d\n" % entry.order
