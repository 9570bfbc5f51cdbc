-- Renews the lease of a node in a partition, and records the members that came to it and left it. Takes away the
-- members of nodes whose lease has ended. A member joins with its first node and leaves with its last.
--
-- KEYS: the leases of all nodes (a sorted set: node, end in ms), the state of the partition (a hash: v the version
-- of the last change, n<node> the number of the node's last report, r the time of the last report of any node,
-- x the time before which no node counts as dead). Beside the state, under the same name but for its last letter:
-- m<topic> the members (a hash: id, "since\nnode\tinfo\n…"), o<node> what a node holds (a sorted set: "topic\tid"),
-- t the topics (a sorted set), c the changes (a stream, whose ids are versions).
-- ARGV: the node, the time of a lease in ms, the number of this report, the version of the last change that the
-- node knows or nothing, then a topic, a member and its info each; no info if it left.
-- Returns the number of the node's last report or nothing, the version, and the changes after the known one.
local NAMED_MAX, CHANGES_MAX, CHANGES_LIFE, READ_MAX = 32, 1024, 60000, 256
local DEAD_MAX, REAPED_MAX, SILENCE_MAX = 4, 1000, 3000
local base = string.sub(KEYS[2], 1, -2)
local node, lease, number, known = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local since = string.format('%.0f', now)

local changes, topics = {}, {}
local function change(topic)
  if not changes[topic] then
    changes[topic] = {joined = 0, left = 0, joins = {}, leaves = {}}
    topics[#topics + 1] = topic
  end
  return changes[topic]
end

local function name(list, id, joined, info)
  if #list <= NAMED_MAX then
    list[#list + 1] = id .. '\t' .. joined .. '\t' .. info
  end
end

local function named(list)
  return #list <= NAMED_MAX and table.concat(list, '\n') or ''
end

local function join(topic, id, info)
  local key, mark = base .. 'm' .. topic, '\n' .. node .. '\t'
  local held = redis.call('HGET', key, id)
  if not held then
    redis.call('HSET', key, id, since .. mark .. info)
    local one = change(topic)
    one.joined = one.joined + 1
    name(one.joins, id, since, info)
  elseif not string.find(held, mark, 1, true) then
    redis.call('HSET', key, id, held .. mark .. info)
  end
  redis.call('ZADD', base .. 'o' .. node, 0, topic .. '\t' .. id)
end

local function leave(topic, id, owner)
  local key = base .. 'm' .. topic
  local held = redis.call('HGET', key, id)
  if not held then
    return
  end
  local begun = string.match(held, '^%d+')
  local rest, info = begun, nil
  for line in string.gmatch(held, '\n([^\n]+)') do
    local other, text = string.match(line, '^([^\t]+)\t(.*)$')
    if other == owner then
      info = text
    else
      rest = rest .. '\n' .. line
    end
  end
  if not info then
    return
  end
  if rest == begun then
    redis.call('HDEL', key, id)
    local one = change(topic)
    one.left = one.left + 1
    name(one.leaves, id, begun, info)
  else
    redis.call('HSET', key, id, rest)
  end
end

local had = redis.call('HGET', KEYS[2], 'n' .. node)
redis.call('HSET', KEYS[2], 'n' .. node, number)
redis.call('ZADD', KEYS[1], now + lease, node)

for i = 5, #ARGV, 3 do
  local topic, id, info = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if info ~= '' then
    join(topic, id, info)
  else
    redis.call('ZREM', base .. 'o' .. node, topic .. '\t' .. id)
    leave(topic, id, node)
  end
end

-- If nobody has reported for a while, it was Redis that was away. Nodes that live get the time to report.
local last = tonumber(redis.call('HGET', KEYS[2], 'r') or 0)
local spared = tonumber(redis.call('HGET', KEYS[2], 'x') or 0)
if now - last > SILENCE_MAX then
  spared = now + lease
  redis.call('HSET', KEYS[2], 'x', string.format('%.0f', spared))
end
redis.call('HSET', KEYS[2], 'r', since)
if now >= spared then
  local dead = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, DEAD_MAX)
  for _, owner in ipairs(dead) do
    -- If the node lives, it learns from this that its members are gone.
    redis.call('HDEL', KEYS[2], 'n' .. owner)
    local held = redis.call('ZRANGE', base .. 'o' .. owner, 0, REAPED_MAX - 1)
    for _, pair in ipairs(held) do
      local topic, id = string.match(pair, '^(.-)\t(.*)$')
      leave(topic, id, owner)
      redis.call('ZREM', base .. 'o' .. owner, pair)
    end
    if #held < REAPED_MAX then
      redis.call('ZREM', KEYS[1], owner)
    end
  end
end

-- A version that begins with the time in microseconds is larger than all before, even if they are lost.
local version = tonumber(redis.call('HGET', KEYS[2], 'v') or '')
if not version then
  version = time[1] * 1000000 + time[2]
  redis.call('PEXPIRE', base .. 'c', 0)
end
for _, topic in ipairs(topics) do
  local one, count = changes[topic], redis.call('HLEN', base .. 'm' .. topic)
  if count == 0 then
    redis.call('ZREM', base .. 't', topic)
  else
    redis.call('ZADD', base .. 't', 0, topic)
  end
  version = version + 1
  redis.call('XADD', base .. 'c', 'MAXLEN', CHANGES_MAX, string.format('%.0f-0', version), 't', topic,
    'c', count, 'j', one.joined, 'J', named(one.joins), 'l', one.left, 'L', named(one.leaves))
end
local text = string.format('%.0f', version)
redis.call('HSET', KEYS[2], 'v', text)
if #topics > 0 then
  redis.call('PEXPIRE', base .. 'c', CHANGES_LIFE)
end
local found = {}
if known ~= '' then
  found = redis.call('XRANGE', base .. 'c', '(' .. known .. '-0', '+', 'COUNT', READ_MAX)
end
return {had or '', text, found}
