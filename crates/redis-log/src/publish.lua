-- Appends one event to a topic and tells the gateways that watch it.
--
-- KEYS  1 the topic's stream, and its channel   2 its head   3 the idempotency key, if there is one
-- ARGV  1 the entry   2 what it does to the topic: o(pen) l(ast) e(nd)   3 events to keep
--       then milliseconds: 4 age to keep   5 life of the stream   6 life of the head
--       7 life of the idempotency key   8 the fence
--       9 the largest entry, in bytes, that travels inside its message
--       10 the caller's witness: the last position that was acknowledged to it, or nothing
-- With w in the place of 2, and an empty entry, no event is appended, and only the head raised.
-- Head  "<last position> <ms of the last PEXPIRE> <first position of this generation> <generation> <o|e>",
--       and then the number up to which lost ones were skipped, if any were after this generation began
-- Reply {position, 0 appended | 1 there already | 2 refused, the topic has ended}
local call = redis.call

-- A server that was restarted or promoted has another replication id: a new generation.
local generation = string.match(call('INFO', 'replication'), 'master_replid:(%x%x%x%x%x%x%x%x)')
local time = call('TIME')
local ms = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000

local last_ms, last_n, expired, first, last_generation, state, accounted = string.match(
  call('GET', KEYS[2]) or '', '^(%d+)%-(%d+) (%d+) (%d+%-%d+) (%S+) ([oe]) ?(%d*)$')
accounted = tonumber(accounted) or 0
if not last_ms then
  -- No head. If the stream is there its last entry says where to go on, in a generation of its own.
  last_ms, last_n, expired, last_generation, state = '0', '0', 0, generation, 'o'
  local newest = call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if newest then
    last_ms, last_n = string.match(newest[1], '^(%d+)%-(%d+)$')
    last_generation = ''
    local header = ' ' .. string.match(newest[2][2], '^[^\n]*') .. ' '
    if string.find(header, ' m=last ', 1, true) or string.find(header, ' m=end ', 1, true) then
      state = 'e'
    end
  end
end
local last = last_ms .. '-' .. last_n
last_ms, last_n = last_ms + 0, last_n + 0

-- Whatever answers for an earlier append writes something, so that WAIT covers that append too.
local earlier = KEYS[3] and call('GET', KEYS[3])
if earlier then
  call('PEXPIRE', KEYS[3], ARGV[7])
  return {earlier, 1}
end
if state == 'e' then
  if ARGV[2] == 'w' then return {last, 1} end
  if ARGV[2] ~= 'e' then return {last, 2} end
  call('PEXPIRE', KEYS[2], ARGV[6])
  return {last, 1}
end

-- What was acknowledged keeps its number, even if the log has lost it. A topic that the log does not
-- know, or that began anew at 1, was wiped, and that is told as a reset.
local raised = false
local witness_ms, witness_n = string.match(ARGV[10], '^(%d+)%-(%d+)$')
witness_ms, witness_n = tonumber(witness_ms) or 0, tonumber(witness_n) or 0
if last_n > 0 and witness_n > last_n and (witness_ms > last_ms
    or witness_ms == last_ms and last_generation ~= generation) then
  -- The tail is lost, and nothing was stored in its place yet: go on behind it, in a new generation.
  last_ms, last_n, last_generation, raised = witness_ms, witness_n, '-', true
elseif first then
  -- Numbers of lost events were given out again, from the first of this generation on, before this
  -- witness came: as many are skipped now. All witnesses of older generations count the same lost
  -- numbers, from `first` up to theirs, so each adds only what is beyond the greatest before it. One of
  -- a generation older still lies below `first`: that generation's own numbers were made good before
  -- this one began. The mark stands in the head with the skip, so a fail-over loses both or neither.
  local first_ms, first_n = string.match(first, '^(%d+)%-(%d+)$')
  first_ms, first_n = first_ms + 0, first_n + 0
  local lost = witness_n - math.max(first_n - 1, accounted)
  if first_n > 1 and witness_ms < first_ms and lost > 0 then
    last_n, accounted, raised = last_n + lost, witness_n, true
    last_ms = math.max(ms, last_ms)
  end
end

if ARGV[2] == 'w' then
  if not raised or not first then return {last, 1} end
  local position = string.format('%.0f-%.0f', last_ms, last_n)
  call('SET', KEYS[2], string.format('%s %.0f %s %s %s %.0f',
    position, expired, first, last_generation, state, accounted), 'KEEPTTL')
  call('SPUBLISH', KEYS[1], position)
  return {position, 0}
end

if last_generation ~= generation then
  -- The fence: positions given out from here sort after any that the old server gave out unseen.
  ms = math.max(ms + ARGV[8], last_ms + 1)
  first, accounted = nil, 0
elseif ms < last_ms then
  ms = last_ms
end
local n = last_n + 1
local position = string.format('%.0f-%.0f', ms, n)

local added = redis.pcall('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], position, 'd', ARGV[1])
if type(added) == 'table' and added.err then return added end
if KEYS[3] then call('SET', KEYS[3], position, 'PX', ARGV[7]) end
if n % 64 == 0 then
  call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(0, ms - ARGV[4])))
end
if ms - expired > ARGV[5] / 8 then
  call('PEXPIRE', KEYS[1], ARGV[5])
  expired = ms
end
if ARGV[2] ~= 'o' then state = 'e' end
call('SET', KEYS[2],
  string.format('%s %.0f %s %s %s%s', position, expired, first or position, generation, state,
    accounted > 0 and string.format(' %.0f', accounted) or ''), 'PX', ARGV[6])
if #ARGV[1] <= ARGV[9] + 0 then
  call('SPUBLISH', KEYS[1], position .. '\n' .. ARGV[1])
else
  call('SPUBLISH', KEYS[1], position)
end
return {position, 0}
