-- A page of what the channel remembers, in the form of history.lua's answer.
-- ARGV[8]  before this offset; "" for the newest
-- ARGV[9]  how many records

local epoch, offset = position()
local answer = { epoch, format(offset) }
local before = tonumber(ARGV[8])
if before == 0 then
  return answer
end
local stop = '+'
if before and before <= offset then  -- a greater one may be too great for a stream's ID
  stop = format(before - 1) .. '-18446744073709551615'
end
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[3], stop, oldest, 'COUNT', ARGV[9])) do
  answer[#answer + 1] = string.match(entry[1], '^%d+')
  answer[#answer + 1] = entry[2][4]
  answer[#answer + 1] = entry[2][6]
end
return answer
