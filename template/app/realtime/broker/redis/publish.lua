-- Gives a record its place in the channel, remembers and publishes it, as one step.
-- ARGV[7]  channel to publish to
-- ARGV[8]  id of the record
-- ARGV[9]  digest of its content
-- ARGV[10]  message
-- Answers 1 if the channel remembers another record of that id, else 0.

local epoch, offset = position()
local size = tonumber(ARGV[3])

local function forget(size, since)
  while redis.call('XLEN', KEYS[2]) > 0 do
    local entry = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
    local time = tonumber(string.match(entry[1], '^%d+'))
    if redis.call('XLEN', KEYS[2]) <= size and time >= since then
      return
    end
    redis.call('XDEL', KEYS[2], entry[1])
    redis.call('HDEL', KEYS[3], entry[2][2])
  end
end

forget(size, oldest_time())
local taken = redis.call('HGET', KEYS[3], ARGV[8])
if taken then
  return taken == ARGV[9] and 0 or 1
end

offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
if size > 0 then
  forget(size - 1, 0)
  redis.call('XADD', KEYS[2], '*', 'id', ARGV[8], 'message', ARGV[10])
  redis.call('HSET', KEYS[3], ARGV[8], ARGV[9])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
end
redis.call('PUBLISH', ARGV[7], epoch .. ' ' .. offset .. ' ' .. ARGV[10])
return 0
