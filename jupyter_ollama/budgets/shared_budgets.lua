-- Counts of several hosts, read and written in one step.
--
-- KEYS[1] is the prefix of all keys, ARGV[1] a JSON object. Each host writes only its own numbers, and
-- these as totals: what is sent twice, late or again after a loss counts once.
--
--   {prefix}hosts                 sorted set: member "host|process", alive until its score
--   {prefix}spent:{budget}        hash: "bucket|host" -> tokens
--   {prefix}reserved:{budget}     hash: member -> tokens that its running requests may cost
--   {prefix}overrides             hash: limits that an administrator has set for a time
local prefix, query = KEYS[1], cjson.decode(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local host, member = query.host, query.member
local hosts = prefix .. 'hosts'
local reply = {now = string.format('%.6f', now)}

redis.call('ZREMRANGEBYSCORE', hosts, '-inf', now)
local alive, count = {}, 0
for _, other in ipairs(redis.call('ZRANGE', hosts, 0, -1)) do
  if other ~= member and string.sub(other, 1, #host + 1) == host .. '|' then
    if query.replaces ~= other then
      reply.clash = other
      return cjson.encode(reply)
    end
    redis.call('ZREM', hosts, other)
  else
    alive[other] = true
    count = count + 1
  end
end
if not alive[member] then
  alive[member] = true
  count = count + 1
end
redis.call('ZADD', hosts, now + query.ttl, member)
if query.leaves then redis.call('ZREM', hosts, member) end
reply.hosts = count

for _, one in ipairs(query.spent or {}) do
  local key = prefix .. 'spent:' .. one.key
  for index = 1, #one.amounts, 2 do
    local field = string.format('%.0f', one.amounts[index]) .. '|' .. host
    local amount = one.amounts[index + 1]
    if amount > tonumber(redis.call('HGET', key, field) or 0) then
      redis.call('HSET', key, field, string.format('%.0f', amount))
    end
  end
  redis.call('EXPIRE', key, one.expires)
end

for _, one in ipairs(query.reserved or {}) do
  local key = prefix .. 'reserved:' .. one.key
  if one.tokens > 0 then
    redis.call('HSET', key, member, string.format('%.0f', one.tokens))
    redis.call('EXPIRE', key, 86400)
  else
    redis.call('HDEL', key, member)
  end
end

local spent, reserved = {}, {}
reply.looks = {}
for index, one in ipairs(query.looks or {}) do
  local key = prefix .. 'spent:' .. one.key
  local own, others, total = {}, {}, 0
  local fields = redis.call('HGETALL', key)
  for at = 1, #fields, 2 do
    local bucket, whose = string.match(fields[at], '^(%d+)|(.*)$')
    local amount = tonumber(fields[at + 1])
    if tonumber(bucket) <= one.cut then
      redis.call('HDEL', key, fields[at])
    else
      total = total + amount
      if whose == host then
        own[bucket] = amount
      else
        others[bucket] = (others[bucket] or 0) + amount
      end
    end
  end
  local held = 0
  local reservations = redis.call('HGETALL', prefix .. 'reserved:' .. one.key)
  for at = 1, #reservations, 2 do
    if not alive[reservations[at]] then
      redis.call('HDEL', prefix .. 'reserved:' .. one.key, reservations[at])
    elseif reservations[at] ~= member then
      held = held + tonumber(reservations[at + 1])
    end
  end
  spent[index], reserved[index] = total, held
  reply.looks[index] = {others = others, reserved = held, own = query.own and own or nil}
end

-- A request may start unless a budget is spent, or may be by what runs on all hosts.
if query.tokens then
  reply.verdict = 'start'
  for index, one in ipairs(query.looks) do
    local running = reserved[index] + one.reserved
    if spent[index] >= one.limit then
      reply.verdict = 'spent'
      break
    elseif running > 0 and spent[index] + running >= one.limit then
      reply.verdict = 'wait'
    end
  end
  for _, one in ipairs(query.looks) do
    local mine = one.reserved + (reply.verdict == 'start' and query.tokens or 0)
    local key = prefix .. 'reserved:' .. one.key
    if mine > 0 then
      redis.call('HSET', key, member, string.format('%.0f', mine))
      redis.call('EXPIRE', key, 86400)
    else
      redis.call('HDEL', key, member)
    end
  end
end

local version = prefix .. 'overrides:version'
for _, one in ipairs(query.overrides or {}) do
  if one.value == '' then
    redis.call('HDEL', prefix .. 'overrides', one.field)
  else
    redis.call('HSET', prefix .. 'overrides', one.field, one.value)
  end
  redis.call('INCR', version)
end
reply.version = redis.call('GET', version) or ''
if query.version and query.version ~= reply.version then
  reply.overrides = redis.call('HGETALL', prefix .. 'overrides')
end
return cjson.encode(reply)
