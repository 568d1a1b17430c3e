-- The queue of one topic. Every call is atomic and goes by the clock of the Redis server.
--
-- A message is one entry of the stream from publish to acknowledgement; it never moves. What state
-- it is in is said by which index names it:
--   past the cursor, in no index   visible, never delivered
--   hidden, until an instant       delivered and not acknowledged, or delayed; visible again after it
--   the list of its group          waits until it is the first there (the first is being worked on)
--   dead, since an instant         dead letter
-- notes holds what was said of the messages that were buried.
-- receipts holds "attempt token group" of every message that was ever delivered.
-- bell is a stream of one entry, added whenever something may have become visible earlier than a
-- waiting consumer was told.
-- waiters holds of every consumer that found nothing "until room invisible token": until when it
-- waits, and how it takes messages. While there is one, the cursor stands at the end of the stream:
-- what is published is delivered to its mailbox, a stream, which saves it from asking.

local stream, cursor, hidden, receipts, dead, notes, bell, waiters, mailboxes, groups =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local DEAD_LETTER_LIMIT = 10000
-- Nobody waits for as long without asking again: else the clock was set back.
local WAIT_LIMIT = 60000
-- A mailbox outlives what is in it: later the messages are visible again.
local MAILBOX_MARGIN = 1000
-- What one take may carry, and how many entries it reads at a time: bounds on memory.
local TAKE_BYTES = 8 * 1024 * 1024
local READ_COUNT = 8

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function ring()
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'at', now)
end

-- Fields stand in the order in which publish writes them.
local function body_of(fields) return fields[2] end
local function group_of(fields) return fields[8] end
local function is_delayed(fields) return fields[10] ~= '0' end

local function read(id)
  local entry = redis.call('XRANGE', stream, id, id)[1]
  return entry and entry[2]
end

local function delivery(id)
  local record = redis.call('HGET', receipts, id)
  if not record then return 0 end
  local attempt, token, group = string.match(record, '^(%d+) (%x+) (.*)$')
  return tonumber(attempt), token, group
end

-- Puts a message at the end of its group; true when it is the first there.
local function enter_group(group, id)
  return group == '' or redis.call('RPUSH', groups .. group, id) == 1
end

-- Takes the first message of the group out and makes the next one visible.
local function leave_group(group)
  if group == '' then return end
  redis.call('LPOP', groups .. group)
  local next_id = redis.call('LINDEX', groups .. group, 0)
  if next_id then
    redis.call('ZADD', hidden, now, next_id)
    ring()
  end
end

local function erase(id)
  redis.call('ZREM', hidden, id)
  redis.call('HDEL', receipts, id)
  redis.call('HDEL', notes, id)
  redis.call('XDEL', stream, id)
end

local function bury(id, group)
  redis.call('ZREM', hidden, id)
  redis.call('ZADD', dead, now, id)
  leave_group(group)
  if redis.call('ZCARD', dead) > DEAD_LETTER_LIMIT then
    erase(redis.call('ZPOPMIN', dead)[1])
  end
end

-- The attempt, group and end of invisibility of the message, when the token is its receipt's and
-- the invisibility has not ended.
local function held(id, token)
  local attempt, current, group = delivery(id)
  if token ~= current then return nil end
  local visible_at = tonumber(redis.call('ZSCORE', hidden, id) or now)
  if visible_at <= now then return nil end
  return attempt, group, visible_at
end

-- The cursor passes the message; true when it may be delivered.
local function passes(id, fields)
  return not is_delayed(fields) and enter_group(group_of(fields), id)
end

local function deliver(id, attempt, fields, invisible, token)
  redis.call('ZADD', hidden, now + invisible, id)
  redis.call('HSET', receipts, id, attempt .. ' ' .. token .. ' ' .. group_of(fields))
end

-- Who has the least time left.
local function next_waiter()
  local waiter
  local all = redis.call('HGETALL', waiters)
  for i = 1, #all, 2 do
    local until_, room, invisible, token = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%x+)$')
    until_ = tonumber(until_)
    if not until_ or until_ <= now or until_ > now + WAIT_LIMIT then
      redis.call('HDEL', waiters, all[i])
    elseif not waiter or until_ < waiter.until_ then
      waiter = { name = all[i], until_ = until_, room = tonumber(room),
        invisible = tonumber(invisible), token = token }
    end
  end
  return waiter
end

-- Who has been sent something does not wait any more.
local function post(waiter, id, fields)
  local mailbox = mailboxes .. waiter.name
  redis.call('HDEL', waiters, waiter.name)
  deliver(id, 1, fields, waiter.invisible, waiter.token)
  redis.call('XADD', mailbox, '*', 'id', id, 'token', waiter.token, unpack(fields))
  redis.call('PEXPIRE', mailbox, waiter.invisible + MAILBOX_MARGIN)
end

local call = {}

function call.publish()
  local ids, last, waiter, posted = {}, nil, next_waiter(), 0
  for i = 2, #ARGV, 5 do
    local body, key, properties, group, delay = unpack(ARGV, i, i + 4)
    local fields = { 'body', body, 'key', key, 'properties', properties, 'group', group,
      'delay', delay }
    local id = redis.call('XADD', stream, '*', unpack(fields))
    if is_delayed(fields) then redis.call('ZADD', hidden, now + delay, id) end
    if waiter then
      last = id
      if passes(id, fields) then
        post(waiter, id, fields)
        posted = posted + 1
        waiter.room = waiter.room - 1
        if waiter.room == 0 then waiter = next_waiter() end
      end
    end
    ids[#ids + 1] = id
  end
  if last then redis.call('SET', cursor, last) end
  if posted < #ids then ring() end
  return ids
end

-- Replies the newest ring of the bell, the milliseconds until a message becomes visible by itself
-- (-1: none will) and what was taken: id, attempt, fields. If it is nothing, the consumer waits:
-- for as many milliseconds as it says, with its mailbox.
function call.take()
  local max_count, invisible, max_attempts, token, wait, name =
    tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], tonumber(ARGV[6]), ARGV[7]
  local seen = ARGV[8]
  local taken, bytes = {}, 0

  local function room()
    return bytes < TAKE_BYTES and math.min(READ_COUNT, max_count - #taken) or 0
  end

  local function hand_out(id, attempt, fields)
    deliver(id, attempt, fields, invisible, token)
    taken[#taken + 1] = { id, attempt, fields }
    bytes = bytes + #body_of(fields)
  end

  -- What came into the mailbox when nobody looked into it any more.
  redis.call('HDEL', waiters, name)
  local missed = redis.call('XRANGE', mailboxes .. name, '(' .. seen, '+')
  redis.call('DEL', mailboxes .. name)
  for _, entry in ipairs(missed) do
    local id, its_token, fields = entry[2][2], entry[2][4], { unpack(entry[2], 5) }
    local attempt, group = held(id, its_token)
    if attempt and #taken < max_count then
      hand_out(id, attempt, fields)
    elseif attempt then
      -- Nobody has seen it: it was not attempted.
      redis.call('ZADD', hidden, now, id)
      redis.call('HSET', receipts, id, attempt - 1 .. ' ' .. its_token .. ' ' .. group)
      ring()
    end
  end

  -- First what became visible again, so that no message is overtaken for ever.
  while room() > 0 do
    local ids = redis.call('ZRANGEBYSCORE', hidden, '-inf', now, 'LIMIT', 0, room())
    if #ids == 0 then break end
    for _, id in ipairs(ids) do
      local attempt, _, group = delivery(id)
      if attempt >= max_attempts then
        bury(id, group)
      else
        local fields = read(id)
        -- Without its entry (evicted by a Redis that is short of memory) there is no message.
        if fields then hand_out(id, attempt + 1, fields) else erase(id) end
      end
    end
  end

  local first = redis.call('GET', cursor) or '0-0'
  local last = first
  while room() > 0 do
    local entries = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', room())
    if #entries == 0 then break end
    for _, entry in ipairs(entries) do
      local id, fields = entry[1], entry[2]
      last = id
      if passes(id, fields) then hand_out(id, 1, fields) end
    end
  end
  if last ~= first then redis.call('SET', cursor, last) end

  if #taken == 0 and wait > 0 then
    redis.call('HSET', waiters, name, string.format('%.0f %d %d %s',
      now + wait, max_count, invisible, token))
  end
  local soonest = redis.call('ZRANGE', hidden, 0, 0, 'WITHSCORES')[2]
  local rung = redis.call('XREVRANGE', bell, '+', '-', 'COUNT', 1)[1]
  return { rung and rung[1] or '0-0', soonest and math.max(0, soonest - now) or -1, taken }
end

-- Pairs of id and token; replies 1 for each that was still held.
function call.acknowledge()
  local outcomes = {}
  for i = 2, #ARGV, 2 do
    local id = ARGV[i]
    local attempt, group = held(id, ARGV[i + 1])
    if attempt then
      erase(id)
      leave_group(group)
    end
    outcomes[#outcomes + 1] = attempt and 1 or 0
  end
  return outcomes
end

-- Pairs of id and token after the new duration and the new token; replies as acknowledge does.
function call.hide()
  local visible_at, new_token = now + ARGV[2], ARGV[3]
  local outcomes, is_earlier = {}, false
  for i = 4, #ARGV, 2 do
    local id = ARGV[i]
    local attempt, group, was_visible_at = held(id, ARGV[i + 1])
    if attempt then
      is_earlier = is_earlier or visible_at < was_visible_at
      redis.call('ZADD', hidden, visible_at, id)
      redis.call('HSET', receipts, id, attempt .. ' ' .. new_token .. ' ' .. group)
    end
    outcomes[#outcomes + 1] = attempt and 1 or 0
  end
  if is_earlier then ring() end
  return outcomes
end

-- Delay, id, token and a new token; replies 1 when the message was still held. What was not worked
-- on was not attempted.
function call.hand_back()
  local id = ARGV[3]
  local attempt, group = held(id, ARGV[4])
  if not attempt then return 0 end
  redis.call('ZADD', hidden, now + ARGV[2], id)
  redis.call('HSET', receipts, id, attempt - 1 .. ' ' .. ARGV[5] .. ' ' .. group)
  ring()
  return 1
end

-- Id, token and note; replies 1 when the message was still held.
function call.bury()
  local id = ARGV[2]
  local attempt, group = held(id, ARGV[3])
  if not attempt then return 0 end
  redis.call('HSET', notes, id, ARGV[4])
  bury(id, group)
  return 1
end

-- Replies the ids of the oldest, as many as asked for.
function call.dead_ids()
  return redis.call('ZRANGEBYSCORE', dead, '-inf', '+inf', 'LIMIT', 0, ARGV[2])
end

-- Ids; replies id, attempts, time of death, note and fields of each that is a dead letter.
function call.dead_letters()
  local letters = {}
  for i = 2, #ARGV do
    local id = ARGV[i]
    local died_at = redis.call('ZSCORE', dead, id)
    local fields = died_at and read(id)
    if fields then
      local attempt = delivery(id)
      local note = redis.call('HGET', notes, id) or ''
      letters[#letters + 1] = { id, attempt, died_at, note, fields }
    end
  end
  return letters
end

function call.discard()
  local count = 0
  for i = 2, #ARGV do
    if redis.call('ZREM', dead, ARGV[i]) == 1 then
      erase(ARGV[i])
      count = count + 1
    end
  end
  return count
end

function call.replay()
  local count = 0
  for i = 2, #ARGV do
    local id = ARGV[i]
    local fields = redis.call('ZREM', dead, id) == 1 and read(id)
    if fields then
      redis.call('HDEL', receipts, id)
      redis.call('HDEL', notes, id)
      if enter_group(group_of(fields), id) then redis.call('ZADD', hidden, now, id) end
      count = count + 1
    end
  end
  ring()
  return count
end

-- Replies visible, invisible and dead counts and the lag in milliseconds.
function call.backlog()
  local dead_count = redis.call('ZCARD', dead)
  local invisible_count = redis.call('ZCOUNT', hidden, '(' .. now, '+inf')
  local visible_count = redis.call('XLEN', stream) - invisible_count - dead_count

  local oldest = now
  local reappeared_at = redis.call('ZRANGE', hidden, 0, 0, 'WITHSCORES')[2]
  if reappeared_at then oldest = math.min(oldest, reappeared_at) end
  local last = redis.call('GET', cursor) or '0-0'
  while true do
    local entry = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
    if not entry then break end
    last = entry[1]
    if not is_delayed(entry[2]) then
      oldest = math.min(oldest, string.match(last, '^%d+'))
      break
    end
  end
  return { visible_count, invisible_count, dead_count, now - oldest }
end

return call[ARGV[1]]()
