-- Gives a message its place in the channel and publishes it, as one step.
-- KEYS[1]  position of the channel: a hash of epoch and offset
-- ARGV     channel, message, epoch to begin with, seconds to remember the position
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[3])
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
local epoch = redis.call('HGET', KEYS[1], 'epoch')
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[1], epoch .. ' ' .. offset .. ' ' .. ARGV[2])
return offset
