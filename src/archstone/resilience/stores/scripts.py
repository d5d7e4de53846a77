"""The scripts that a Redis or Valkey server runs: `limits` and `circuitstate` once more, in Lua.

Times are microseconds of the server's clock, whole: a double holds them exactly until the year 2255.
"""

from typing import Final

__all__ = ["CIRCUIT", "TAKE"]

TAKE: Final = """
-- KEYS: one per take. ARGV: kind, microseconds per cost 1, burst, longest line, then cost and longest wait: of all
-- takes alike, or of each. Returns a text of one whole number per take: 0 taken, above 0 taken with so long to wait,
-- below 0 refused for so long.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, burst, line = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local room = burst * each

local function bucket(key, cost, patience)
  local paid = tonumber(redis.call('GET', key) or 0)
  paid = math.min(math.max(now, paid), now + room + line)
  local after = paid + cost * each
  local late = after - now - room
  if late > 0.5 and late > patience + 0.5 then
    return -math.ceil(late - patience)
  end
  redis.call('SET', key, string.format('%.3f', after), 'PX', math.max(1, math.ceil((after - now) / 1000)))
  return late > 0.5 and math.ceil(late) or 0
end

local function window(key, cost)
  local number, into = math.floor(now / room), (now % room) / room
  local known = redis.call('HMGET', key, 'number', 'here', 'before')
  local last, here, before = tonumber(known[1] or -9), 0, 0
  if last >= number then
    here, before = tonumber(known[2]), tonumber(known[3])
  elseif last == number - 1 then
    before = tonumber(known[2])
  end
  if before * (1 - into) + here + cost <= burst + 1e-9 then
    redis.call('HSET', key, 'number', number, 'here', here + cost, 'before', before)
    redis.call('PEXPIRE', key, math.ceil(room * 2 / 1000))
    return 0
  end
  if here + cost <= burst then
    return -math.max(1, math.ceil(((1 - (burst - here - cost) / before) - into) * room))
  end
  return -math.max(1, math.ceil(((1 - into) + math.max(0, 1 - (burst - cost) / here)) * room))
end

local cost, patience = tonumber(ARGV[5]), tonumber(ARGV[6])
local alike, windowed, answers = #ARGV == 6, ARGV[1] == 'window', {}
for at, key in ipairs(KEYS) do
  if not alike then
    cost, patience = tonumber(ARGV[3 + 2 * at]), tonumber(ARGV[4 + 2 * at])
  end
  answers[at] = string.format('%d', windowed and window(key, cost) or bucket(key, cost, patience))
end
return table.concat(answers, ' ')
"""

CIRCUIT: Final = """
-- KEYS: the circuit. ARGV: verb, failures in a row (0: a ratio), open for, trials, ratio, over calls, over time, least
-- calls; then what the verb needs. States: 0 closed, 1 open, 2 half open. An until of -1 is for ever.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local verb, in_a_row, open_for, trials = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ratio, over_calls, over_time, least = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])

local kept = redis.call('HMGET', KEYS[1],
  'state', 'epoch', 'till', 'row', 'free', 'worked', 'calls', 'failed', 'window')
local function number(at) return tonumber(kept[at] or 0) end
local state, epoch, till, row, free = number(1), number(2), number(3), number(4), number(5)
local worked, calls, failed, window = number(6), number(7), number(8), kept[9] or ''
local before, changed = epoch, false

local function move(to, until_us)
  state, epoch, till, changed = to, epoch + 1, until_us, true
  row, free, worked, calls, failed, window = 0, 0, 0, 0, 0, ''
end

local function try()
  move(2, now + open_for)
  free = trials
end

-- A window of calls is a text of 0 and 1, the oldest first; one of time is 'slice,calls,failed;' for each slice.
local function count(bad)
  if over_calls > 0 then
    window, calls, failed = window .. bad, calls + 1, failed + bad
    if calls > over_calls then
      failed, calls, window = failed - tonumber(string.sub(window, 1, 1)), calls - 1, string.sub(window, 2)
    end
    return
  end
  local slice, slices, last = math.floor(now * 10 / over_time), {}, nil
  calls, failed = 0, 0
  for at, made, broke in string.gmatch(window, '(%d+),(%d+),(%d+);') do
    if tonumber(at) > slice - 10 then
      last = {tonumber(at), tonumber(made), tonumber(broke)}
      slices[#slices + 1] = last
    end
  end
  if not last or last[1] < slice then
    last = {slice, 0, 0}
    slices[#slices + 1] = last
  end
  last[2], last[3], window = last[2] + 1, last[3] + bad, ''
  for _, one in ipairs(slices) do
    calls, failed = calls + one[2], failed + one[3]
    window = window .. string.format('%d,%d,%d;', one[1], one[2], one[3])
  end
end

local reason, wait = 0, 0
if verb == 'begin' then
  if state == 1 and till < 0 then
    reason, wait = 2, open_for
  elseif state == 1 and now < till then
    reason, wait = 1, till - now
  elseif state == 2 and free <= 0 and now < till then
    reason, wait = 3, math.min(1000000, till - now)
  elseif state > 0 then
    if state == 1 or free <= 0 then try() end
    free, changed = free - 1, true
  end
elseif verb == 'end' and tonumber(ARGV[9]) == epoch then
  local outcome = tonumber(ARGV[10])
  if outcome == 2 then
    if state == 2 then free, changed = free + 1, true end
  elseif state == 2 then
    worked, changed = worked + 1, true
    if outcome == 1 then move(1, now + open_for) elseif worked >= trials then move(0, 0) end
  elseif state == 0 and in_a_row > 0 then
    changed = row > 0 or outcome == 1
    row = outcome == 1 and row + 1 or 0
    if row >= in_a_row then move(1, now + open_for) end
  elseif state == 0 then
    changed = true
    count(outcome)
    if outcome == 1 and calls >= least and failed >= ratio * calls then move(1, now + open_for) end
  end
elseif verb == 'open' then
  local for_us = tonumber(ARGV[9])
  move(1, for_us < 0 and -1 or now + for_us)
elseif verb == 'close' then
  move(0, 0)
elseif verb == 'look' then
  return {state, epoch, till, row, free, worked, calls, failed, now}
end

if changed then
  redis.call('HSET', KEYS[1], 'state', state, 'epoch', epoch, 'till', string.format('%.0f', till), 'row', row,
    'free', free, 'worked', worked, 'calls', calls, 'failed', failed, 'window', window)
  if till < 0 then
    redis.call('PERSIST', KEYS[1])
  else
    redis.call('PEXPIRE', KEYS[1], math.ceil(86400000 + math.max(0, till - now) / 1000))
  end
end
return {reason, wait, epoch, epoch ~= before and 1 or 0, state}
"""
