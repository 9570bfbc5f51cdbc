-- Appends events to their topics, in their order, and tells the gateways that watch these topics.
--
-- KEYS  for each event: the topic's stream, and its channel; its head; the idempotency key, if it has one;
--       the fingerprint that belongs to the key, if the event has a fingerprint; the bookmark of its source, if
--       the event is a copy; the label, if the event has one
-- ARGV  1 events to keep
--       then milliseconds: 2 age to keep   3 life of a stream   4 life of a head
--       5 life of an idempotency key   6 the fence
--       7 the largest entry, in bytes, that travels inside its message   8 events to keep in a space
--       then for each event two: the entry, and "<mark><k, if it has a key><n, if its topic
--       must not be new><b, if it is a copy><s, if the log is that of a space><f, if it has a
--       label><witness> <its fingerprint> <the position that it must follow>";
--       what is missing at the end is left out. For a copy two more: the bookmark that its source must have,
--       or nothing, and the next one
-- Mark  the effect of the event on its topic: o(pen) l(ast) e(nd) b(roken)
--       r(eopened); with d, and an empty entry, the topic
--       is deleted, and the reply has its last position; with w, and an empty entry, no event
--       is appended, and only the head is raised
-- Witness  the last position that was acknowledged to the caller, or nothing
-- Head  "v<number>" if the topic has a later format than this script knows, or else
--       "<last position> <ms of the last PEXPIRE> <first position of this generation> <generation> <o|e>",
--       and then the number up to which lost events were skipped in this generation, if any were. A last
--       position with the number 0 is the place before the first event of a topic that was deleted
-- Bookmark  "<position of the event that brought it> <bookmark>"
-- Reply a line for each event: "0 <position>" appended, "1 <position>" there already, "2 <position>"
--       refused, the topic has ended, "3 0-0" refused, the topic is new, "4 <position>" refused, an
--       event with another fingerprint has the key, "5 <bookmark>" refused, the source has this bookmark or
--       none, or "- <error>"
local call, match, format, max = redis.call, string.match, string.format, math.max
local keep, age, stream_life, head_life, key_life, fence, inline_max, space_keep =
  ARGV[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4], ARGV[5], ARGV[6] + 0, ARGV[7] + 0, ARGV[8]

-- A server that was restarted or promoted has another replication id: a new generation.
local generation = match(call('INFO', 'replication'), 'master_replid:(%x%x%x%x%x%x%x%x)')
local time = call('TIME')
local now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
local now_text = format('%.0f', now)
-- The usual end of a head. A head that ends so needs no further parsing.
local usual = generation .. ' o'

local function append(stream, head, key, print_key, entry, mark, known, shared, witness, print, follows, marker, from, to, label)
  local value = call('GET', head) or ''
  local last, last_ms, last_n, expired, first, rest = match(value, '^((%d+)%-(%d+)) (%d+) (%d+%-%d+) (.+)$')
  local last_generation, state, accounted = generation, 'o', 0
  if rest ~= usual then
    last_generation, state, accounted = match(rest or '', '^(%S+) ([oe]) ?(%d*)$')
    accounted = tonumber(accounted) or 0
  end
  if not state then
    -- The head of a topic in a later format, which must stay as it is.
    local later = match(value, '^v(%d+)')
    if later then error({err = 'FORMAT ' .. later}) end
    -- No head. The last entry of the stream, if there is one, tells where to continue, in a generation of
    -- its own.
    last_ms, last_n, expired, first, last_generation, state = '0', '0', 0, nil, generation, 'o'
    local newest = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if newest then
      last_ms, last_n = match(newest[1], '^(%d+)%-(%d+)$')
      last_generation = ''
      local header = ' ' .. match(newest[2][2], '^[^\n]*') .. ' '
      if string.find(header, ' m=last ', 1, true) or string.find(header, ' m=end ', 1, true) then
        state = 'e'
      end
    end
    last = last_ms .. '-' .. last_n
  end
  last_ms, last_n = last_ms + 0, last_n + 0

  -- The answer to a repeated append writes a key, so that WAIT covers the first append too.
  local earlier = key and call('GET', key)
  -- A key from before the topic was deleted, or wiped, means nothing to the topic that has its name now.
  local began = earlier and first and match(first, '^(%d+)%-1$')
  if began and match(earlier, '^(%d+)') + 0 < began + 0 then earlier = nil end
  if earlier then
    -- 0.2.0 stores keys without a fingerprint.
    local first_print = print_key and call('GET', print_key)
    if first_print and first_print ~= print then return '4 ' .. earlier end
    call('PEXPIRE', key, key_life)
    if first_print then call('PEXPIRE', print_key, key_life) end
    return '1 ' .. earlier
  end
  if marker then
    local position, found = match(call('GET', marker) or '', '^(%S+) (.*)$')
    if found == to then
      call('PEXPIRE', marker, head_life)
      return '1 ' .. position
    end
    if (found or '') ~= from then return '5 ' .. (found or '') end
  end
  if mark == 'd' then
    if last_n == 0 then return '1 ' .. last end
    -- The next position is later than all before, whatever the clock says, and its number is 1 in a generation
    -- that begins there. The stream keeps its life, and the next event renews both.
    local ms = format('%.0f', max(now, last_ms + 1))
    call('XTRIM', stream, 'MAXLEN', 0)
    call('SET', head, ms .. '-0 0 ' .. ms .. '-1 ' .. generation .. ' o', 'PX', head_life)
    call('SPUBLISH', stream, ms .. '-0')
    return '0 ' .. last
  end
  if mark == 'r' then
    if state ~= 'e' then return '1 ' .. last end
    state = 'o'
  end
  if state == 'e' then
    if mark == 'w' then return '1 ' .. last end
    if mark ~= 'e' then return '2 ' .. last end
    call('PEXPIRE', head, head_life)
    return '1 ' .. last
  end

  -- Neither a head nor an event. Nothing was written so far, so the refusal leaves nothing behind.
  if known == 'n' and last_n == 0 then return '3 0-0' end

  -- An acknowledged event keeps its number, even if the log has lost the event. A topic that the log
  -- does not know, or that began again at 1, was wiped, and its readers are told of a reset.
  local raised = false
  if witness ~= '' and witness ~= last then
    local witness_ms, witness_n = match(witness, '^(%d+)%-(%d+)$')
    witness_ms, witness_n = tonumber(witness_ms) or 0, tonumber(witness_n) or 0
    if last_n > 0 and witness_n > last_n and (witness_ms > last_ms
        or witness_ms == last_ms and last_generation ~= generation) then
      -- The tail is lost, and nothing was stored in its place yet: continue after it, in a new generation.
      last_ms, last_n, last_generation, raised = witness_ms, witness_n, '-', true
    elseif first then
      -- Numbers of lost events were given out again, from the first of this generation on, before this
      -- witness came: as many numbers are skipped now. All witnesses of the generation before count the
      -- same lost numbers, from `first` up to their own, so each adds only its part beyond the greatest
      -- one so far. A witness of a still older generation lies below `first`: the numbers of that
      -- generation were made good before this one began. The mark stands in the head with the skip, so
      -- a fail-over loses both or neither.
      local first_ms, first_n = match(first, '^(%d+)%-(%d+)$')
      first_ms, first_n = first_ms + 0, first_n + 0
      local lost = witness_n - max(first_n - 1, accounted)
      if first_n > 1 and witness_ms < first_ms and lost > 0 then
        last_n, accounted, raised = last_n + lost, witness_n, true
        last_ms = max(now, last_ms)
      end
    end
  end

  if follows ~= '' and follows ~= format('%.0f-%.0f', last_ms, last_n) then return '1 ' .. last end

  if mark == 'w' then
    if not raised or not first then return '1 ' .. last end
    local position = format('%.0f-%.0f', last_ms, last_n)
    call('SET', head, format('%s %s %s %s %s %.0f',
      position, expired, first, last_generation, state, accounted), 'KEEPTTL')
    call('SPUBLISH', stream, position)
    return '0 ' .. position
  end

  local ms, ms_text = now, now_text
  if last_generation ~= generation then
    -- The fence: positions given out from here sort after any that the old server gave out unseen.
    ms = max(now + fence, last_ms + 1)
    first, accounted = nil, 0
  elseif now < last_ms then
    ms = last_ms
  end
  if ms ~= now then ms_text = format('%.0f', ms) end
  local n = last_n + 1
  local position = ms_text .. format('-%.0f', n)

  local added = redis.pcall('XADD', stream, 'MAXLEN', '~', shared == 's' and space_keep or keep, position, 'd', entry)
  if type(added) == 'table' and added.err then error(added) end
  if key then call('SET', key, position, 'PX', key_life) end
  if print_key then call('SET', print_key, print, 'PX', key_life) end
  if marker then call('SET', marker, position .. ' ' .. to, 'PX', head_life) end
  if label then call('SET', label, position, 'NX', 'PX', stream_life) end
  if n % 64 == 0 then
    call('XTRIM', stream, 'MINID', '~', format('%.0f', max(0, ms - age)))
  end
  -- Both lives are renewed after an eighth of the stream's life, and if the clock went back.
  local unrenewed = now - expired
  local renew = unrenewed > stream_life / 8 or unrenewed < 0
  if renew then
    call('PEXPIRE', stream, stream_life)
    expired = now_text
  end
  if mark == 'l' or mark == 'e' then state = 'e' end
  value = position .. ' ' .. expired .. ' ' .. (first or position) .. ' ' .. generation .. ' ' .. state
  if accounted > 0 then value = value .. format(' %.0f', accounted) end
  if renew then
    call('SET', head, value, 'PX', head_life)
  else
    call('SET', head, value, 'KEEPTTL')
  end
  if #entry <= inline_max then
    call('SPUBLISH', stream, position .. '\n' .. entry)
  else
    call('SPUBLISH', stream, position)
  end
  return '0 ' .. position
end

local answers, k, a = {}, 1, 9
while a < #ARGV do
  local mark, keyed, known, copied, shared, labelled, witness, print, follows =
    match(ARGV[a + 1], '^(%l)(k?)(n?)(b?)(s?)(f?)([^ ]*) ?([^ ]*) ?(.*)$')
  local key = keyed == 'k' and KEYS[k + 2]
  local print_key = key and print ~= '' and KEYS[k + 3]
  local names = 2 + (key and 1 or 0) + (print_key and 1 or 0)
  local marker = copied == 'b' and KEYS[k + names]
  names = names + (marker and 1 or 0)
  local label = labelled == 'f' and KEYS[k + names]
  names = names + (label and 1 or 0)
  -- An error of one event does not stop the others.
  local done, answer = pcall(append, KEYS[k], KEYS[k + 1], key, print_key, ARGV[a], mark, known, shared, witness, print,
    follows, marker, ARGV[a + 2], ARGV[a + 3], label)
  if not done then
    answer = tostring(type(answer) == 'table' and answer.err or answer)
    answer = '- ' .. match(answer, '^%-?([^\r\n]*)')
  end
  answers[#answers + 1] = answer
  k = k + names
  a = a + (marker and 4 or 2)
end
return table.concat(answers, '\n')
