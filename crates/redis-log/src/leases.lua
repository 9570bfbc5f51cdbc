-- Renews the lease of a node in a partition and replaces its counts of places. With a bound, a count is
-- replaced only if all nodes together stay within it.
--
-- KEYS: the leases of all nodes (a sorted set: node, end in ms), the counts of this node (a hash: subject,
-- "count:version"), which ends with its lease.
-- ARGV: the node, the time of a lease in ms, the bound or -1, then a subject, its count and its version each.
-- Returns 1 if the node had a lease, the number of nodes, and 1 if the counts were accepted.
local node, lease, max = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + lease, node)
redis.call('PEXPIRE', KEYS[1], lease)
local nodes = redis.call('ZRANGE', KEYS[1], 0, -1)

local accepted = 1
if max >= 0 then
  local sum = tonumber(ARGV[5])
  local prefix = string.sub(KEYS[2], 1, #KEYS[2] - #node)
  for _, other in ipairs(nodes) do
    if other ~= node then
      local held = redis.call('HGET', prefix .. other, ARGV[4])
      if held then
        sum = sum + tonumber(string.match(held, '^%d+'))
      end
    end
  end
  if sum > max then
    accepted = 0
  end
end

-- The field without a name is there for as long as the lease is, so its lack shows that the counts are gone.
local had = redis.call('HGET', KEYS[2], '')
redis.call('HSET', KEYS[2], '', '0:0')
if accepted == 1 then
  for i = 4, #ARGV, 3 do
    local held = redis.call('HGET', KEYS[2], ARGV[i])
    local version = held and tonumber(string.match(held, '%d+$')) or 0
    if version < tonumber(ARGV[i + 2]) then
      if ARGV[i + 1] == '0' then
        redis.call('HDEL', KEYS[2], ARGV[i])
      else
        redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1] .. ':' .. ARGV[i + 2])
      end
    end
  end
end
redis.call('PEXPIRE', KEYS[2], lease)
return {had and 1 or 0, #nodes, accepted}
