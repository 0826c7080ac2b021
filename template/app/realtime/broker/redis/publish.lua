-- Gives a record its place in the channel, remembers and publishes it, in one step.
-- ARGV[7]  channel to publish to
-- ARGV[8]  id of the record
-- ARGV[9]  digest of its content
-- ARGV[10]  message
-- Answers {epoch, offset, whether the channel remembers other content under that id}.

local epoch, previous = position()
local size = tonumber(ARGV[3])

local function forget(size)
  while true do
    local entry = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
    if not entry then
      return
    end
    local offset = tonumber(string.match(entry[1], '^%d+'))
    local is_new = now - offset <= ARGV[4] * 1000000
    if is_new and redis.call('XLEN', KEYS[3]) <= size then
      return
    end
    redis.call('XDEL', KEYS[3], entry[1])
    redis.call('HDEL', KEYS[4], entry[2][2])
  end
end

forget(size)
local taken = redis.call('HGET', KEYS[4], ARGV[8])
if taken then
  local offset, digest = string.match(taken, '^(%d+) (.*)$')
  return { epoch, offset, digest == ARGV[9] and 0 or 1 }
end

-- Microseconds since 1970, which is exact in a double until the year 2255.
local offset = math.max(previous + 1, now)
remember(epoch, offset)
offset, previous = format(offset), format(previous)
if size > 0 then
  forget(size - 1)
  redis.call(
    'XADD', KEYS[3], offset .. '-0', 'id', ARGV[8], 'previous', previous, 'message', ARGV[10]
  )
  redis.call('HSET', KEYS[4], ARGV[8], offset .. ' ' .. ARGV[9])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
  redis.call('EXPIRE', KEYS[4], ARGV[4])
end
redis.call('PUBLISH', ARGV[7], epoch .. ' ' .. offset .. ' ' .. previous .. ' ' .. ARGV[10])
return { epoch, offset, 0 }
