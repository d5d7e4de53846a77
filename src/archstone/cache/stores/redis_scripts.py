r"""What a Redis or Valkey server does in one step each, by its own clock: the scripts of `RedisStore`.

All keys of one script have one hash tag, so they live in one slot of a cluster:

    {prefix}:v:<key>   "stamp written_us fresh_us keep_us soon_us load_us\n", the tags as JSON, "\n", the value
    {prefix}:l:<key>   the token of the lease, with its time
    {prefix}:t         a sorted set: `n` the last number given, `f` the number of tags that are not there, `t<tag>` its
                       last invalidation

Numbers are tokens and stamps at once, from one sequence that begins at the server's time in microseconds. Numbers and
tags are in one key, so a server that is short of memory drops all or none; without them no entry with tags is served.
"""

from typing import Final

__all__ = ["CLAIM", "FILL", "INVALIDATE", "READ", "RELEASE", "WRITE"]

_COMMON: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local numbers = KEYS[1]
local function text(number) return string.format('%.0f', number) end
local function begin()
  if not redis.call('ZSCORE', numbers, 'n') then redis.call('ZADD', numbers, now, 'n', now, 'f') end
end
local function overtaken(stamp, tags)
  if tags == '[]' then return false end
  local floor = redis.call('ZSCORE', numbers, 'f')
  if not floor then return true end
  for _, tag in ipairs(cjson.decode(tags)) do
    if tonumber(redis.call('ZSCORE', numbers, 't' .. tag) or floor) > stamp then return true end
  end
  return false
end
local function current(key)
  local value = redis.call('GET', key)
  if not value then return false end
  local first = string.find(value, '\\n', 1, true)
  local second = string.find(value, '\\n', first + 1, true)
  local stamp = tonumber(string.match(value, '^%d+'))
  if overtaken(stamp, string.sub(value, first + 1, second - 1)) then
    redis.call('DEL', key)
    return false
  end
  return value
end
local function keep(key, stamp, age, life, keep_us, tags, value)
  local left = math.floor((keep_us - age) / 1000)
  if left < 1 then redis.call('DEL', key) return end
  local head = stamp .. ' ' .. text(now - age) .. ' ' .. life .. '\\n' .. tags .. '\\n'
  redis.call('SET', key, head .. value, 'PX', left)
end
"""

READ: Final = (
    _COMMON
    + """
local found = {text(now)}
for i = 2, #KEYS do found[i] = current(KEYS[i]) end
return found
"""
)
"""KEYS: numbers, values. Returns the time and each value or nil."""

CLAIM: Final = (
    _COMMON
    + """
if ARGV[2] ~= '1' then
  local value = current(KEYS[2])
  if value then
    local written, fresh = string.match(value, '^%d+ (%d+) (%d+)')
    if now - written < tonumber(fresh) then return {'e', text(now), value} end
  end
end
if redis.call('GET', KEYS[3]) then return {'b', text(redis.call('PTTL', KEYS[3]))} end
begin()
local token = text(tonumber(redis.call('ZINCRBY', numbers, 1, 'n')))
redis.call('SET', KEYS[3], token, 'PX', ARGV[1])
return {'l', token}
"""
)
"""KEYS: numbers, value, lease. ARGV: milliseconds, 1 to refresh."""

FILL: Final = (
    _COMMON
    + """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[3])
if overtaken(tonumber(ARGV[1]), ARGV[5]) then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('PUBLISH', ARGV[7], ARGV[8]) end
keep(KEYS[2], ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6])
return 1
"""
)
"""KEYS: numbers, value, lease. ARGV: token, age, life, keep, tags, value, channel, message."""

RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
"""KEYS: lease. ARGV: token."""

WRITE: Final = (
    _COMMON
    + """
begin()
redis.call('DEL', KEYS[3])
local stamp = text(tonumber(redis.call('ZSCORE', numbers, 'n')))
keep(KEYS[2], stamp, tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5])
redis.call('PUBLISH', ARGV[6], ARGV[7])
return 1
"""
)
"""KEYS: numbers, value, lease. ARGV: age, life, keep, tags, value, channel, message."""

INVALIDATE: Final = (
    _COMMON
    + """
for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
if #ARGV > 3 then
  begin()
  local number = redis.call('ZINCRBY', numbers, 1, 'n')
  for i = 4, #ARGV do redis.call('ZADD', numbers, number, 't' .. ARGV[i]) end
  local over = redis.call('ZCARD', numbers) - 2 - ARGV[1]
  while over > 0 do
    for _, member in ipairs(redis.call('ZRANGE', numbers, 0, 1)) do
      if member ~= 'f' and member ~= 'n' then
        redis.call('ZADD', numbers, redis.call('ZSCORE', numbers, member), 'f')
        redis.call('ZREM', numbers, member)
        break
      end
    end
    over = over - 1
  end
end
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
"""
)
"""KEYS: numbers, values and leases to forget. ARGV: tags to remember at most, channel, message or nothing, tags."""
