-- Looks at the members of a topic: all of them, or some of many.
--
-- KEYS: the members (a hash), the state of their partition (presence.lua). ARGV: the most members.
-- Returns the version of the last change, the number of members, and ids and values.
local most = tonumber(ARGV[1])
local count = redis.call('HLEN', KEYS[1])
local found
if count <= most then
  found = redis.call('HGETALL', KEYS[1])
else
  found = redis.call('HSCAN', KEYS[1], 0, 'COUNT', most)[2]
end
return {redis.call('HGET', KEYS[2], 'v') or '0', count, found}
