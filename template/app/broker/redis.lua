-- Gives a message its place in the channel and publishes it, as one step.
-- KEYS[1]  position of the channel: a hash of epoch, offset and run
-- ARGV     epoch to begin with, seconds to remember the position,
--          and, unless the position is only read, channel and message
-- A Redis that restarted from a snapshot, or a replica that took over, may have lost
-- the last offsets and would give them again: each run of a server is another epoch.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if redis.call('HGET', KEYS[1], 'run') ~= run then
  redis.call('HSET', KEYS[1], 'run', run, 'epoch', ARGV[1], 'offset', 0)
end
local publishes = ARGV[3] ~= nil
local offset = redis.call('HINCRBY', KEYS[1], 'offset', publishes and 1 or 0)
local epoch = redis.call('HGET', KEYS[1], 'epoch')
redis.call('EXPIRE', KEYS[1], ARGV[2])
if publishes then
  redis.call('PUBLISH', ARGV[3], epoch .. ' ' .. offset .. ' ' .. ARGV[4])
end
return {epoch, offset}
