-- A token bucket as one would write it for one decision in one call, with the same state and the same
-- whole numbers as ours. Answers whether it passes, and the level before.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local rate, cell, size = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local level, at = 0, now
local state = redis.call('GET', KEYS[1])
if state then
  level, at = struct.unpack('<dd', state)
  if at < now then
    level = math.max(0, level - (now - at) * rate)
    at = now
  end
end
if level + cell > size then
  return { 0, level }
end
local after = level + cell
local millis = math.ceil((at - now + after / rate) / 1000) + 1
redis.call('SET', KEYS[1], struct.pack('<dd', after, at), 'PX', string.format('%.0f', millis))
return { 1, level }
