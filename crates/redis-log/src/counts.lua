-- Counts the members of topics by the beginning of their names.
--
-- KEYS: the topics of a partition (a sorted set; presence.lua). ARGV: the least name, the bound above the largest
-- one, the most topics. Returns topics and their counts.
local base = string.sub(KEYS[1], 1, -2)
local topics = redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
local found = {}
for _, topic in ipairs(topics) do
  found[#found + 1] = topic
  found[#found + 1] = redis.call('HLEN', base .. 'm' .. topic)
end
return found
