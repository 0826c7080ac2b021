-- Gives a record its place in the channel, remembers and publishes it, in one step.
-- ARGV[8]  command that publishes
-- ARGV[9]  channel to publish to
-- ARGV[10]  id of the record
-- ARGV[11]  digest of its content
-- ARGV[12]  message
-- Answers {epoch, offset, whether the channel remembers other content under that id}.

local epoch, previous = position()
local size = tonumber(ARGV[3])

local taken = redis.call('HGET', KEYS[4], ARGV[10])
if taken then
  local offset, digest = string.match(taken, '^(%d+) (.*)$')
  if tonumber(offset) >= since then
    return { epoch, offset, digest == ARGV[11] and 0 or 1 }
  end
end

-- Forget what is too old, and what is too much once this record is added.
local excess = redis.call('XLEN', KEYS[3]) - math.max(0, size - 1)
repeat
  local entry = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  local goes = entry and (excess > 0 or tonumber(string.match(entry[1], '^%d+')) < since)
  if goes then
    redis.call('XDEL', KEYS[3], entry[1])
    redis.call('HDEL', KEYS[4], entry[2][2])
    excess = excess - 1
  end
until not goes

-- Microseconds since 1970, which is exact in a double until the year 2255.
local offset = math.max(previous + 1, now)
remember(epoch, offset)
offset, previous = format(offset), format(previous)
if size > 0 then
  redis.call(
    'XADD', KEYS[3], offset .. '-0', 'id', ARGV[10], 'previous', previous, 'message', ARGV[12]
  )
  redis.call('HSET', KEYS[4], ARGV[10], offset .. ' ' .. ARGV[11])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
  redis.call('EXPIRE', KEYS[4], ARGV[4])
end
redis.call(ARGV[8], ARGV[9], epoch .. ' ' .. offset .. ' ' .. previous .. ' ' .. ARGV[12])
return { epoch, offset, 0 }
