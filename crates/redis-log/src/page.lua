-- Reads the events after a position, and no more of them than fit a weight.
--
-- KEYS  the topic's stream
-- ARGV  1 the position to read from, as XRANGE takes it
--       2 most events   3 most weight; the first event comes whatever it weighs   4 weight of an empty event
-- Reply the entries, as XRANGE gives them
local stream, from, most, room, empty = KEYS[1], ARGV[1], ARGV[2] + 0, ARGV[3] + 0, ARGV[4] + 0
local page, weight, step = {}, 0, 1
while true do
  local entries = redis.call('XRANGE', stream, from, '+', 'COUNT', step)
  for _, entry in ipairs(entries) do
    local bytes = 0
    for _, text in ipairs(entry[2]) do bytes = bytes + #text end
    -- An event weighs its data twice: as it was published, and as it is encoded.
    weight = weight + empty + 2 * bytes
    if weight > room and #page > 0 then return page end
    page[#page + 1] = entry
  end
  if #entries < step or #page >= most then return page end
  from = '(' .. entries[#entries][1]
  -- As many as fit if they weigh what the events so far have weighed.
  step = math.floor((room - weight) * #page / weight)
  step = math.min(most - #page, math.max(1, step))
end
