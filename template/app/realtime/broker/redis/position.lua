-- What the scripts beside this one begin with.
-- KEYS[1]  position of the channel: a hash of epoch, offset and run
-- KEYS[2]  its history: a stream with an entry for each record, the last at `offset`
-- KEYS[3]  its ids: for each record of the history, "<entry> <digest>"
-- ARGV[1]  epoch to begin with, if one has to
-- ARGV[2]  seconds to remember the position after its last use
-- ARGV[3]  records to remember
-- ARGV[4]  seconds to remember a record
-- ARGV[5]  epoch and
-- ARGV[6]  offset that the worker saw last

local function begin_epoch()
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'offset', 0)
  redis.call('DEL', KEYS[2], KEYS[3])
end

-- Another run of a server may have lost the last records, and would give their offsets
-- again, if it restored a snapshot or was a replica. With an append-only file of its own
-- it has them.
local function kept_everything()
  return string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1', 1, true)
    and string.find(redis.call('INFO', 'replication'), 'master_replid2:0000000000', 1, true)
end

local function position()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local known = redis.call('HMGET', KEYS[1], 'run', 'epoch', 'offset')
  if known[1] ~= run then
    if not (known[1] and kept_everything()) then
      begin_epoch()
      known = { run, ARGV[1], 0 }
    end
    redis.call('HSET', KEYS[1], 'run', run)
  end
  local epoch, offset = known[2], tonumber(known[3])
  if ARGV[5] == epoch and tonumber(ARGV[6]) > offset then
    begin_epoch()
    epoch, offset = ARGV[1], 0
  end
  redis.call('EXPIRE', KEYS[1], ARGV[2])
  return epoch, offset
end

local function oldest_time()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[4] * 1000
end

