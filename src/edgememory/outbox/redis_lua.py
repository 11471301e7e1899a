"""The Redis outbox's keys, and the scripts that change them: each is atomic, and one round trip.

KEYS are in each script, in this order:

1. `due`, a sorted set: users by since when they wait to be claimed; of leased ones, when the lease ends
2. `waiting`, a sorted set: all changes, as user, NUL and id, by when they were appended
3. `users`, a set: of whom any waits
4. `leases`, a hash: by user, the token of the present lease and its length in seconds
5. `dead`, a list: dead letters, newest first

and, where one user is meant, whose name is ARGV[1]:

6. `changes:{user}`, a hash: bodies by id
7. `floor:{user}`, the floor; it is forgotten after 90 days without use
"""

from edgememory.stores.lua import script

PREFIX = "em:outbox:1:"
"""No entry's key begins like this: `outbox` is a namespace that somebody may have."""
FLOOR_SECONDS = 90 * 86_400

_COMMON = """
local due, waiting, users, leases, dead, changes, floor = unpack(KEYS)
local user = ARGV[1]

local function pending()
  return {redis.call('GET', floor) or '0', redis.call('HGETALL', changes)}
end

local function release(now)
  redis.call('HDEL', leases, user)
  if redis.call('EXISTS', changes) == 1 then
    redis.call('ZADD', due, now, user)
  else
    redis.call('ZREM', due, user)
  end
end

-- Release the lease that the token is of, if nothing that it carried is left; and any user of whom nothing waits.
local function settle(now, token, first, last)
  local lease = redis.call('HGET', leases, user)
  if not lease then
    if redis.call('EXISTS', changes) == 0 then redis.call('ZREM', due, user) end
    return
  end
  if string.match(lease, '^%S+') ~= token then return end
  for place = first, last do
    if redis.call('HEXISTS', changes, ARGV[place]) == 1 then return end
  end
  release(now)
end

local function remove(id)
  redis.call('HDEL', changes, id)
  redis.call('ZREM', waiting, user .. '\\0' .. id)
  if redis.call('EXISTS', changes) == 0 then redis.call('SREM', users, user) end
end
"""

PENDING = script(_COMMON + "return pending()")
"""Answers the floor, and ids and bodies in turn, in no order."""

APPEND = script(
    _COMMON
    + """
local now = ARGV[2]
for place = 3, #ARGV, 2 do
  if redis.call('HSETNX', changes, ARGV[place], ARGV[place + 1]) == 1 then
    redis.call('ZADD', waiting, now, user .. '\\0' .. ARGV[place])
  end
end
redis.call('SADD', users, user)
redis.call('ZADD', due, 'NX', now, user)
return pending()
"""
)
"""ARGV: user, now, then id and body of each change. Answers as PENDING."""

# A lease that began further in the future than its own length was taken before the clock was set back.
CLAIMABLE = script(
    """
local due, leases = KEYS[1], KEYS[4]
local now, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
-- The time as it was given: Lua writes numbers with 14 digits.
local found = redis.call('ZRANGEBYSCORE', due, '-inf', ARGV[1], 'LIMIT', 0, limit)
if #found == limit then return found end
local ahead = redis.call('ZRANGEBYSCORE', due, '(' .. ARGV[1], '+inf', 'WITHSCORES')
for place = 1, #ahead, 2 do
  local lease = redis.call('HGET', leases, ahead[place])
  local length = lease and tonumber(string.match(lease, '%S+$'))
  if not length or tonumber(ahead[place + 1]) - 2 * length >= now then found[#found + 1] = ahead[place] end
  if #found == limit then break end
end
return found
"""
)
"""ARGV: now, limit. Answers users who may be leased, longest waiting first."""

LEASE = script(
    _COMMON
    + """
local now = tonumber(ARGV[2])
local ends = redis.call('ZSCORE', due, user)
if not ends then return {} end
local lease = redis.call('HGET', leases, user)
-- Its own it gets again: the client repeats what it had no answer to.
if lease and string.match(lease, '^%S+') ~= ARGV[5] and tonumber(ends) > now then
  if tonumber(ends) - 2 * tonumber(string.match(lease, '%S+$')) < now then return {} end
end
local ids = redis.call('HKEYS', changes)
if #ids == 0 then
  release(ARGV[2])
  return {}
end
table.sort(ids)
-- A full server lets a script add something only after another write: what it holds must be deliverable.
redis.call('HDEL', leases, user)
redis.call('HSET', leases, user, ARGV[5] .. ' ' .. ARGV[3])
redis.call('ZADD', due, ARGV[4], user)
local rows, size = {}, 0
for place = 1, math.min(#ids, tonumber(ARGV[6])) do
  local body = redis.call('HGET', changes, ids[place])
  size = size + #body
  if place > 1 and size > tonumber(ARGV[7]) then break end
  rows[#rows + 1] = ids[place]
  rows[#rows + 1] = body
end
return rows
"""
)
"""ARGV: user, now, lease, when it ends, token, most changes, most bytes. Answers ids and bodies in turn, by id.

Answers nothing if somebody else was faster, or nothing of the user waits.
"""

ACK = script(
    _COMMON
    + """
local now, token, version, carried = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
for place = 6 + carried, #ARGV do remove(ARGV[place]) end
redis.call('EXPIRE', floor, FLOOR_SECONDS) -- also lets a full server take what follows, as in LEASE
if tonumber(version) > tonumber(redis.call('GET', floor) or '0') then
  redis.call('SET', floor, version, 'EX', FLOOR_SECONDS)
end
settle(now, token, 6, 5 + carried)
""".replace("FLOOR_SECONDS", str(FLOOR_SECONDS))
)
"""ARGV: user, now, token, version, how many changes the claim carried, their ids, then the ids to remove."""

REJECT = script(
    _COMMON
    + """
local now, token, why, carried = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
for place = 6 + carried, #ARGV do
  local id = ARGV[place]
  local body = redis.call('HGET', changes, id)
  if body then
    remove(id)
    redis.call('LPUSH', dead, table.concat({now, #user, #id, #why}, ' ') .. '\\n' .. user .. id .. why .. body)
  end
end
settle(now, token, 6, 5 + carried)
"""
)
"""ARGV: as ACK, with the error in the version's place. A dead letter is a line of its time and of the lengths of what
comes next, user, id and error; then these, and the body."""

DEPTH = script(
    """
local due, waiting, users, leases, dead = unpack(KEYS)
local oldest = redis.call('ZRANGE', waiting, 0, 0, 'WITHSCORES')
return {redis.call('ZCARD', waiting), redis.call('SCARD', users), redis.call('LLEN', dead), oldest[2] or false}
"""
)
"""Answers how many changes wait, of how many users, how many letters are dead, and since when the oldest waits."""
