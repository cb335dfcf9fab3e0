"""The law of `stoa.domain.access.fair_share` in Lua, for scripts that record what callers and tenants hold.

For each kind of thing:

    PREFIX KIND-all         sorted set: the ids, the least recently used or soonest to end first
    PREFIX KIND-of:OWNER    sorted set: those of one caller
    PREFIX KIND-in:TENANT   sorted set: those of one tenant
    PREFIX KIND-holders     hash: who holds an id and how much, as SIZE:LENGTH OF OWNER:OWNER TENANT
    PREFIX KIND-by-owner    sorted set: how much each caller holds
    PREFIX KIND-by-tenant   sorted set: how much each tenant holds
    PREFIX KIND-total       how much is held

The keys of a kind expire together after the last activity, so that they stay consistent.
"""

from stoa.domain.access.fair_share import Holder

LUA = """
local function shares(kind, kept_for)
  local p = prefix .. kind .. '-'
  local all, holders, total = p .. 'all', p .. 'holders', p .. 'total'
  local by_owner, by_tenant = p .. 'by-owner', p .. 'by-tenant'
  local s = {all = all}
  local function of(owner) return p .. 'of:' .. owner end
  local function within(tenant) return p .. 'in:' .. tenant end
  local function held(index, who) return tonumber(redis.call('ZSCORE', index, who) or 0) end
  local function change(index, who, by)
    if tonumber(redis.call('ZINCRBY', index, by, who)) <= 0 then redis.call('ZREM', index, who) end
  end
  local function last(owner, tenant)
    for _, key in ipairs({all, holders, total, by_owner, by_tenant, of(owner), within(tenant)}) do
      redis.call('PEXPIRE', key, math.max(kept_for, redis.call('PTTL', key)))
    end
  end
  local function holder(id)
    local entry = redis.call('HGET', holders, id)
    if not entry then return nil end
    local _, head, size, length = string.find(entry, '^(%d+):(%d+):')
    return string.sub(entry, head + 1, head + length), string.sub(entry, head + length + 1), tonumber(size)
  end
  s.size = function(id)
    local _, _, size = holder(id)
    return size or 0
  end
  s.drop = function(id)
    local owner, tenant, size = holder(id)
    redis.call('ZREM', all, id)
    if not owner then return end
    redis.call('HDEL', holders, id)
    redis.call('ZREM', of(owner), id)
    redis.call('ZREM', within(tenant), id)
    change(by_owner, owner, -size)
    change(by_tenant, tenant, -size)
    redis.call('DECRBY', total, size)
  end
  s.keep = function(id, owner, tenant, size, score)
    s.drop(id)
    for _, key in ipairs({all, of(owner), within(tenant)}) do redis.call('ZADD', key, score, id) end
    redis.call('HSET', holders, id, size .. ':' .. #owner .. ':' .. owner .. tenant)
    redis.call('ZINCRBY', by_owner, size, owner)
    redis.call('ZINCRBY', by_tenant, size, tenant)
    redis.call('INCRBY', total, size)
    last(owner, tenant)
  end
  s.use = function(id, score)
    local owner, tenant = holder(id)
    if not owner then return end
    for _, key in ipairs({all, of(owner), within(tenant)}) do redis.call('ZADD', key, 'XX', 'GT', score, id) end
    last(owner, tenant)
  end
  s.ended = function(score) return redis.call('ZRANGEBYSCORE', all, '-inf', score, 'LIMIT', 0, 1000) end
  s.first_of = function(owner) return redis.call('ZRANGE', of(owner), 0, 0, 'WITHSCORES')[2] end
  s.first_in = function(tenant) return redis.call('ZRANGE', within(tenant), 0, 0, 'WITHSCORES')[2] end
  s.first = function() return redis.call('ZRANGE', all, 0, 0, 'WITHSCORES')[2] end
  -- nil when `owner` may hold so much more of `id`, after others gave way; else which cap was met
  s.room = function(id, owner, tenant, added, caps, evicts_own, forget)
    local function oldest(key)
      local found = redis.call('ZRANGE', key, 0, 1)
      return found[1] ~= id and found[1] or found[2]
    end
    while added > 0 do
      local theirs = held(by_tenant, tenant)
      local place, bound
      if held(by_owner, owner) + added > caps[1] then
        bound, place = 'caller', evicts_own and of(owner)
      elseif theirs + added > caps[2] then
        bound, place = 'tenant', evicts_own and within(tenant)
      elseif tonumber(redis.call('GET', total) or 0) + added > caps[3] then
        bound, place = 'all', evicts_own and within(tenant)
        local most = redis.call('ZREVRANGE', by_tenant, 0, 1)
        local largest = most[1] ~= tenant and most[1] or most[2]
        if largest and held(by_tenant, largest) > theirs + added then place = within(largest) end
      else
        return nil
      end
      local victim = place and oldest(place)
      if not victim then return bound end
      forget(victim)
      redis.call('ZREM', place, victim)
    end
    return nil
  end
  return s
end
"""


def keys_of(holder: Holder) -> tuple[str, str]:
    """The caller and the tenant as written in keys. Callers without a tenant form one of their own."""
    tenant = "-" if holder.tenant is None else f"+{holder.tenant}"
    return f"{len(tenant)}{tenant}:{holder.caller}", tenant
