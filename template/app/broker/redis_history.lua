-- What the channel remembers, as {epoch, offset, newest message, …, oldest message}.
-- ARGV[5]  how many of the last records, at least
-- ARGV[6]  and those after this offset
-- ARGV[7]  epoch and
-- ARGV[8]  offset that a worker saw, or two empty strings

local epoch, offset = position()
if ARGV[7] == epoch and offset < tonumber(ARGV[8]) then
  begin_epoch()
  epoch, offset = ARGV[1], 0
end
local answer = { epoch, offset }
local count = math.max(tonumber(ARGV[5]), offset - tonumber(ARGV[6]))
if count > 0 then
  local entries = redis.call('XREVRANGE', KEYS[2], '+', math.max(0, oldest_time()), 'COUNT', count)
  for _, entry in ipairs(entries) do
    answer[#answer + 1] = entry[2][4]
  end
end
return answer
