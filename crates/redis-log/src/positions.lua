-- Tells positions of a topic's events. No data leaves Redis, however large the events are.
--
-- KEYS  the topic's stream
-- ARGV  1 the event that is looked for: o(ldest), n(umber from the end), t(ime)
--       2 the number of events from it to the newest, or the time in milliseconds
-- Reply nothing if there is no event; else the oldest position, the newest position, "e" if the newest
--       event ends the topic, "b" if it tells of a publisher that broke off, or else "o", and the position of the event that was looked for, or nothing
local stream, kind, value = KEYS[1], ARGV[1], ARGV[2]
local call, match, format, floor = redis.call, string.match, string.format, math.floor

local function at(from)
  return call('XRANGE', stream, from, '+', 'COUNT', 1)[1]
end

local function parse(id)
  local ms, n = match(id, '^(%d+)%-(%d+)$')
  return ms + 0, n + 0
end

local oldest = at('-')
if not oldest then return {} end
local newest = call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local state = 'o'
local header = ' ' .. match(newest[2][2], '^[^\n]*') .. ' '
if string.find(header, ' m=last ', 1, true) or string.find(header, ' m=end ', 1, true) then
  state = 'e'
elseif string.find(header, ' m=broken ', 1, true) then
  state = 'b'
end

-- Each step looks at one entry. 53 halvings cover all milliseconds, and every other step is a guess.
local STEPS = 106

-- The first event with this number or a greater one. Numbers and milliseconds rise together, so a search
-- over the milliseconds finds it, first where an even pace would have put it.
local function numbered(wanted)
  local low, low_n = parse(oldest[1])
  local high, high_n = parse(newest[1])
  if wanted <= low_n then return oldest[1] end
  local found = newest[1]
  for step = 1, STEPS do
    if low > high then break end
    local share = 0.5
    if step % 2 == 1 then share = (wanted - low_n) / (high_n - low_n) end
    local ms = floor(low + (high - low) * share)
    local id = at(format('%.0f-%.0f', ms, wanted))[1]
    local id_ms, id_n = parse(id)
    if id_n == wanted then return id end
    if id_n < wanted then
      low, low_n = id_ms, id_n
    else
      found, high, high_n = id, ms - 1, id_n
    end
  end
  return found
end

local place
if kind == 'o' then
  place = oldest[1]
elseif kind == 't' then
  local entry = at(value)
  place = entry and entry[1]
elseif value + 0 > 0 then
  local _, newest_n = parse(newest[1])
  place = numbered(newest_n - value + 1)
end
return {oldest[1], newest[1], state, place or ''}
