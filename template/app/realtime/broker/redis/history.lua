-- What the channel remembers: {epoch, offset, and for each record, newest first, its offset,
-- the previous offset and the message}.
-- ARGV[8]  how many of the last records, at least
-- ARGV[9], ARGV[10], …  and all after these positions, epoch and offset, if nothing is missing

local epoch, offset = position()
local answer = { epoch, format(offset) }
local first = redis.call('XRANGE', KEYS[3], oldest, '+', 'COUNT', 1)[1]
if not first then
  return answer
end
local reaches_back_to = tonumber(first[2][4])
local after = offset
for index = 9, #ARGV, 2 do
  local wanted = tonumber(ARGV[index + 1])
  if ARGV[index] == epoch and wanted >= reaches_back_to and wanted < after then
    after = wanted
  end
end
local entries = {}
if after < offset then
  local start = math.max(after + 1, since)
  entries = redis.call('XREVRANGE', KEYS[3], '+', format(start) .. '-0')
end
local last = tonumber(ARGV[8])
if #entries < last then
  entries = redis.call('XREVRANGE', KEYS[3], '+', oldest, 'COUNT', last)
end
for _, entry in ipairs(entries) do
  answer[#answer + 1] = string.match(entry[1], '^%d+')
  answer[#answer + 1] = entry[2][4]
  answer[#answer + 1] = entry[2][6]
end
return answer
