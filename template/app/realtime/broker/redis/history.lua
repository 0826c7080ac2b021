-- What the channel remembers, as {epoch, offset, newest message, …, oldest message}.
-- ARGV[7]  how many of the last records, at least
-- ARGV[8]  and those after this offset

local epoch, offset = position()
local answer = { epoch, offset }
local count = math.max(tonumber(ARGV[7]), offset - tonumber(ARGV[8]))
if count > 0 then
  local entries = redis.call('XREVRANGE', KEYS[2], '+', math.max(0, oldest_time()), 'COUNT', count)
  for _, entry in ipairs(entries) do
    answer[#answer + 1] = entry[2][4]
  end
end
return answer
