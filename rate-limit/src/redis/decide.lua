-- Decides on questions about one key, in order, as if each had come alone at one time.
--
-- KEYS: one for each limit of the key; a question passes all of them or takes nothing.
-- ARGV: for each limit its algorithm, rate, cell and size; then for each run of equal questions
--   what is asked, its cost, how many cells have to be left after it, and how often it is asked.
--   A refund has the time at which its cells were taken in place of what is left; 0 is now.
-- Answer: the time; then for each run how many passed (cells, where the question is "at most") and,
--   for each limit, three numbers on how it stood before the run.
--
-- All numbers are whole and below 2^53, so that doubles hold them exactly. Times are microseconds.
-- tostring() prints 14 digits, so that what goes back to Redis goes through string.format.

local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local pack, unpack_state, call = struct.pack, struct.unpack, redis.call

local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function whole(number)
  return string.format('%.0f', number)
end

-- Keeps a state for as long as it says anything. The time to live counts from a millisecond that
-- began before now, hence one more.
local function keep(limit, state, micros)
  call('SET', limit.key, state, 'PX', whole(ceil(micros / 1000) + 1))
end

-- Token bucket: rate is units for each microsecond, cell units for each cell, size the burst in units.
local bucket = {}

function bucket.open(limit)
  limit.level, limit.at = 0, now
  local state = call('GET', limit.key)
  if not state then return end
  local level, at, rate, cell, size = unpack_state('<ddddd', state)
  -- A clock that was set back stands still until it has caught up, at most until all is back.
  if at - now > size / rate then at = now end
  if at < now then
    level = max(0, level - (now - at) * rate)
    at = now
  end
  if rate ~= limit.rate or cell ~= limit.cell or size ~= limit.size then
    -- Another quota from now on: what is left stays, as far as there is room for it.
    local left = floor((size - level) / cell * limit.cell)
    level = limit.size - max(0, min(limit.size, left))
  end
  limit.level, limit.at = level, at
end

function bucket.room(limit)
  return floor((limit.size - limit.level) / limit.cell)
end

function bucket.take(limit, cells)
  limit.level = limit.level + cells * limit.cell
end

function bucket.refund(limit, cells)
  limit.level = max(0, limit.level - cells * limit.cell)
end

function bucket.tell(limit)
  return limit.level, limit.at, 0
end

function bucket.close(limit)
  if limit.level == 0 then
    call('DEL', limit.key)
  else
    local state = pack('<ddddd', limit.level, limit.at, limit.rate, limit.cell, limit.size)
    keep(limit, state, limit.at - now + ceil(limit.level / limit.rate))
  end
end

-- Windows: rate is the period in microseconds, size the cells of a window.

-- The window of now, or the one that a clock that was set back has not reached again.
local function window_of(limit, index)
  local current = floor(now / limit.rate)
  if index == current + 1 then return index end
  return current
end

local fixed = {}

function fixed.open(limit)
  limit.index, limit.used = floor(now / limit.rate), 0
  local state = call('GET', limit.key)
  if not state then return end
  local index, used, period = unpack_state('<ddd', state)
  if period ~= limit.rate then
    if (index + 1) * period > now then limit.used = used end
  elseif index >= limit.index then
    limit.index, limit.used = window_of(limit, index), used
  end
end

function fixed.room(limit)
  return limit.size - limit.used
end

function fixed.take(limit, cells)
  limit.used = limit.used + cells
end

function fixed.refund(limit, cells, taken)
  if taken == 0 or floor(taken / limit.rate) == limit.index then
    limit.used = max(0, limit.used - cells)
  end
end

function fixed.tell(limit)
  return limit.used, limit.index, 0
end

function fixed.close(limit)
  if limit.used == 0 then
    call('DEL', limit.key)
  else
    local state = pack('<ddd', limit.index, limit.used, limit.rate)
    keep(limit, state, (limit.index + 1) * limit.rate - now)
  end
end

local counter = {}

-- How many cells of the previous window count, rounded up.
local function weighted(previous, index, period)
  local left = max(0, min(period, (index + 1) * period - now))
  return ceil(previous * left / period)
end

function counter.open(limit)
  limit.index, limit.previous, limit.current = floor(now / limit.rate), 0, 0
  local state = call('GET', limit.key)
  if not state then return end
  local index, previous, current, period = unpack_state('<dddd', state)
  local elapsed = floor(now / period) - index
  if elapsed == 1 then
    index, previous, current = index + 1, current, 0
  elseif elapsed > 1 then
    return
  end
  if period ~= limit.rate then
    -- Another quota from now on: what counts now counts as passed in the window of now.
    limit.current = weighted(previous, index, period) + current
  else
    limit.index, limit.previous, limit.current = window_of(limit, index), previous, current
  end
end

function counter.room(limit)
  return limit.size - weighted(limit.previous, limit.index, limit.rate) - limit.current
end

function counter.take(limit, cells)
  limit.current = limit.current + cells
end

function counter.refund(limit, cells, taken)
  local index = taken == 0 and limit.index or floor(taken / limit.rate)
  if index == limit.index then
    limit.current = max(0, limit.current - cells)
  elseif index == limit.index - 1 then
    limit.previous = max(0, limit.previous - cells)
  end
end

function counter.tell(limit)
  return limit.current, limit.index, limit.previous
end

function counter.close(limit)
  if limit.current == 0 and limit.previous == 0 then
    call('DEL', limit.key)
  else
    local state = pack('<dddd', limit.index, limit.previous, limit.current, limit.rate)
    local windows = limit.current > 0 and 2 or 1
    keep(limit, state, (limit.index + windows) * limit.rate - now)
  end
end

-- Sliding log: a sorted set by time. A member is how many cells had passed after it, ever, and how
-- many of them were its own: no two are alike, and what is used is a difference. The first number
-- begins anew at WRAP.
local WRAP = 2 ^ 52
local log = {}

local function last_of(limit)
  local last = call('ZRANGE', limit.key, -1, -1, 'WITHSCORES')
  if not last[1] then return 0, 0, 0 end
  local total, cells = unpack_state('>dd', last[1])
  return total, cells, tonumber(last[2]), last[1]
end

local function read_log(limit)
  local total, _, at = last_of(limit)
  local first = call('ZRANGE', limit.key, 0, 0)[1]
  limit.total, limit.base, limit.last = total, total, at
  if first then
    local after, cells = unpack_state('>dd', first)
    limit.base = (after - cells) % WRAP
  end
end

function log.open(limit)
  call('ZREMRANGEBYSCORE', limit.key, '-inf', whole(now - limit.rate))
  -- A clock that was set back stands still for a period at most.
  call('ZREMRANGEBYSCORE', limit.key, '(' .. whole(now + limit.rate), '+inf')
  read_log(limit)
end

local function used_of(limit)
  return (limit.total - limit.base) % WRAP
end

function log.room(limit)
  return limit.size - used_of(limit)
end

function log.take(limit, cells)
  local total = (limit.total + cells) % WRAP
  local at = max(now, limit.last)
  if total < limit.total then at = at + 1 end
  call('ZADD', limit.key, whole(at), pack('>dd', total, cells))
  limit.total, limit.last = total, at
end

function log.refund(limit, cells, taken)
  if taken > 0 and taken + limit.rate <= now then return end
  while cells > 0 do
    local total, own, at, member = last_of(limit)
    if not member then break end
    call('ZREM', limit.key, member)
    if own > cells then
      call('ZADD', limit.key, whole(at), pack('>dd', (total - cells) % WRAP, own - cells))
    end
    cells = cells - own
  end
  read_log(limit)
end

-- When so many cells fit that do not now: the end of the entry that makes room for them.
function log.ready(limit, asked)
  local lacking = used_of(limit) + asked - limit.size
  if lacking <= 0 or asked > limit.size then return 0 end
  local low, high = 0, call('ZCARD', limit.key) - 1
  while low < high do
    local middle = floor((low + high) / 2)
    local member = call('ZRANGE', limit.key, middle, middle)[1]
    if (unpack_state('>dd', member) - limit.base) % WRAP >= lacking then
      high = middle
    else
      low = middle + 1
    end
  end
  local entry = call('ZRANGE', limit.key, low, low, 'WITHSCORES')
  return entry[2] and tonumber(entry[2]) + limit.rate or 0
end

function log.tell(limit)
  return used_of(limit), limit.last, 0
end

function log.close(limit)
  local micros = limit.last + limit.rate - now
  call('PEXPIRE', limit.key, whole(ceil(micros / 1000) + 1))
end

local algorithms = { b = bucket, f = fixed, c = counter, l = log }

local limits = {}
for i = 1, #KEYS do
  local base = (i - 1) * 4
  local limit = {
    key = KEYS[i],
    algorithm = algorithms[ARGV[base + 1]],
    rate = tonumber(ARGV[base + 2]),
    cell = tonumber(ARGV[base + 3]),
    size = tonumber(ARGV[base + 4]),
  }
  limit.algorithm.open(limit)
  limits[i] = limit
end

local answer = { now }
local changed = false
for i = #KEYS * 4 + 1, #ARGV, 4 do
  local what = ARGV[i]
  local cost, spare, count = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local place = #answer + 1
  answer[place] = 0
  local room = math.huge
  for _, limit in ipairs(limits) do
    room = min(room, limit.algorithm.room(limit))
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = limit.algorithm.tell(limit)
  end
  local cells = 0
  if what == 'r' then
    answer[place] = count
    for _, limit in ipairs(limits) do
      limit.algorithm.refund(limit, cost * count, spare)
    end
    changed = true
  elseif what == 'm' then
    cells = max(0, min(cost * count, room))
    answer[place] = cells
  elseif cost == 0 then
    answer[place] = count
  elseif what == 'p' then
    answer[place] = cost + spare <= room and count or 0
  else
    local passed = max(0, min(count, floor((room - spare) / cost)))
    answer[place] = passed
    cells = passed * cost
  end
  if cells > 0 then
    changed = true
    for _, limit in ipairs(limits) do
      limit.algorithm.take(limit, cells)
    end
  end
  if answer[place] < count and what ~= 'm' then
    for j, limit in ipairs(limits) do
      if limit.algorithm.ready then
        answer[place + j * 3] = limit.algorithm.ready(limit, cost + spare)
      end
    end
  end
end

if changed then
  for _, limit in ipairs(limits) do
    limit.algorithm.close(limit)
  end
end
return answer
