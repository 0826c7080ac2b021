-- What the scripts beside this one begin with. In a Redis Cluster, "the whole server" and
-- "all" mean: all of the bucket.
-- KEYS[1]  the epoch of the whole server: a hash of epoch, run and generation,
--          and in a Redis Cluster of the last run of which every bucket knows
-- KEYS[2]  position of the channel: a hash of server epoch, epoch and offset
-- KEYS[3]  its history: a stream with an entry for each record, whose ID is the offset
-- KEYS[4]  its ids: for each record of the history, "<offset> <digest>"
-- KEYS[5]  all positions: a sorted set of their keys, by an offset that each of them had
-- ARGV[1]  epoch to begin with, if one has to begin
-- ARGV[2]  seconds of a period; a position is remembered that long, or as long as history
-- ARGV[3]  records to remember
-- ARGV[4]  seconds to remember a record
-- ARGV[5]  epoch and
-- ARGV[6]  offset that the worker has seen last
-- ARGV[7]  positions to remember, beside those of channels with a history

local function format(number)
  return string.format('%.0f', number)
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local since = math.max(0, now - ARGV[4] * 1000000)  -- what is older is forgotten
local oldest = format(since) .. '-0'

-- Another run of a server may have lost the last records, if it restored a snapshot or was
-- a replica. With an append-only file of its own it has them.
local function kept_everything()
  return string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1', 1, true)
    and string.find(redis.call('INFO', 'replication'), 'master_replid2:0000000000', 1, true)
end

local generation

local function server_epoch()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local known = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'generation')
  generation = known[3] or '0'
  if known[1] == run then
    return known[2]
  end
  local epoch = known[1] and kept_everything() and known[2] or ARGV[1]
  redis.call('HSET', KEYS[1], 'run', run, 'epoch', epoch)
  return epoch
end

local whole = server_epoch()
local lifetime = math.max(tonumber(ARGV[2]), tonumber(ARGV[4])) + 1

-- The epoch of all channels that begin now. A position outlives a period. So if one expired,
-- this is another epoch than that of the publications that are forgotten.
local function shared_epoch()
  return whole .. '-' .. format(math.floor(now / (ARGV[2] * 1000000))) .. '-' .. generation
end

-- Forget the position of a channel that has had no history for the longest time. Those that
-- begin after it have another epoch than the publications that are forgotten with it.
local function forget_one()
  local key = redis.call('ZRANGE', KEYS[5], 0, 0)[1]
  local epoch, offset = unpack(redis.call('HMGET', key, 'epoch', 'offset'))
  if offset and tonumber(offset) >= since then
    -- It has a history, so its turn comes later.
    redis.call('ZADD', KEYS[5], offset, key)
    return
  end
  redis.call('ZREM', KEYS[5], key)
  redis.call('DEL', key)
  if epoch == shared_epoch() then
    generation = format(redis.call('HINCRBY', KEYS[1], 'generation', 1))
  end
end

local function remember(epoch, offset)
  local is_new = redis.call(
    'HSET', KEYS[2], 'server', whole, 'epoch', epoch, 'offset', format(offset)
  ) > 0
  redis.call('EXPIRE', KEYS[2], lifetime)
  if is_new then
    redis.call('ZADD', KEYS[5], format(now), KEYS[2])
    for _ = 1, math.min(2, redis.call('ZCARD', KEYS[5]) - ARGV[7]) do
      forget_one()
    end
  end
  redis.call('EXPIRE', KEYS[5], lifetime)
end

local function begin_epoch()
  redis.call('DEL', KEYS[3], KEYS[4])
  remember(ARGV[1], 0)
  return ARGV[1], 0
end

-- A channel without a position is at 0 in the epoch of this period. Reading it stores nothing.
local function position()
  local known = redis.call('HMGET', KEYS[2], 'server', 'epoch', 'offset')
  local seen = tonumber(ARGV[6])
  if known[1] == whole then
    local epoch, offset = known[2], tonumber(known[3])
    if ARGV[5] == epoch and seen > offset then
      return begin_epoch()
    end
    return epoch, offset
  end
  -- If Redis evicted the position alone, the history has no epoch any more.
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
  if string.sub(ARGV[5], 1, #whole + 1) == whole .. '-' then
    -- The offset is a time. If it is recent, the position did not expire: it was lost.
    if seen > 0 and now - seen < lifetime * 1000000 then
      return begin_epoch()
    end
    return ARGV[5], seen  -- the worker has listened since: nothing was published
  end
  return shared_epoch(), 0
end
