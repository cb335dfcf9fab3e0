"""Messages of streams in Redis.

PREFIX log:SESSION      list: the newest messages of a session's streams, each as STREAM:NUMBER:MESSAGE
PREFIX streams:SESSION  hash: `n:STREAM`, the newest number; `o:STREAM`, when that was the last one
PREFIX logs-...         who has how many bytes (`shares.py`), sessions by their newest message
"""

from typing import Any

from stoa.application.memory.event_store import BYTES, CALLER_BYTES, MESSAGES, TENANT_BYTES
from stoa.application.memory.session_store import IDLE_SECONDS
from stoa.application.ports import Clock, EventStore, Replay, StoredEvent
from stoa.domain.access.fair_share import Holder
from stoa.infrastructure.redis.connection import RedisConnection, Script
from stoa.infrastructure.redis.shares import LUA, keys_of

TOTAL_BYTES = 256 * 1024 * 1024

_COMMON = (
    """
local prefix, session, now, kept_for = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local log, streams = prefix .. 'log:' .. session, prefix .. 'streams:' .. session
"""
    + LUA
    + """
local held = shares('logs', kept_for)
local function forget(who)
  held.drop(who)
  redis.call('DEL', prefix .. 'log:' .. who, prefix .. 'streams:' .. who)
end
local function touch()
  for _, key in ipairs({log, streams}) do redis.call('PEXPIRE', key, kept_for) end
end
"""
)

_BEGIN = """
redis.call('HSETNX', streams, 'n:' .. ARGV[5], 0)
held.keep(session, ARGV[6], ARGV[7], held.size(session), now)
touch()
return tonumber(redis.call('HGET', streams, 'n:' .. ARGV[5]))
"""

_APPEND = """
local stream, owner, tenant, message, is_last = ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local most, room = tonumber(ARGV[10]), tonumber(ARGV[11])
local caps = {tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])}
for _, who in ipairs(held.ended(now - kept_for)) do forget(who) end
local number = redis.call('HINCRBY', streams, 'n:' .. stream, 1)
if is_last == '1' then redis.call('HSET', streams, 'o:' .. stream, 1) end
redis.call('RPUSH', log, stream .. ':' .. number .. ':' .. message)
local before = held.size(session)
local size = before + #message
local function drop_oldest()
  local entry = redis.call('LPOP', log)
  local _, head, of, n = string.find(entry, '^([^:]*):(%d+):')
  size = size - (#entry - head)
  if redis.call('HEXISTS', streams, 'o:' .. of) == 1 and redis.call('HGET', streams, 'n:' .. of) == n then
    redis.call('HDEL', streams, 'o:' .. of, 'n:' .. of)
  end
end
while redis.call('LLEN', log) > most or size > room do drop_oldest() end
if held.room(session, owner, tenant, size - before, caps, true, forget) then
  while redis.call('LLEN', log) > 0 do drop_oldest() end
end
held.keep(session, owner, tenant, size, now)
touch()
return number
"""

_FORGET = """
forget(session)
"""


class RedisEventStore(EventStore):
    """An EventStore on Redis. `messages`, `size`: bounds on the messages of one session and their bytes; `per_caller`,
    `per_tenant`, `total`: bounds on the bytes of each and of all. A session without messages for `kept_seconds` is
    dropped in any case."""

    def __init__(
        self,
        redis: RedisConnection,
        clock: Clock,
        *,
        messages: int = MESSAGES,
        size: int = BYTES,
        per_caller: int = CALLER_BYTES,
        per_tenant: int = TENANT_BYTES,
        total: int = TOTAL_BYTES,
        kept_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._limits = (messages, size, per_caller, per_tenant, total)
        self._kept_ms = round(kept_seconds * 1000)
        self._begin, self._append, self._forget = (redis.script(_COMMON + text) for text in (_BEGIN, _APPEND, _FORGET))

    async def begin(self, session_id: str, stream: str, holder: Holder | None = None) -> int:
        return int(await self._run(self._begin, session_id, stream, *_written(session_id, holder)))

    async def append(
        self, session_id: str, stream: str, message: bytes, *, is_last: bool = False, holder: Holder | None = None
    ) -> int:
        written = _written(session_id, holder)
        return int(await self._run(self._append, session_id, stream, *written, message, int(is_last), *self._limits))

    async def replay(self, session_id: str, stream: str, after: int) -> Replay | None:
        prefix, name = self._redis.prefix, stream.encode()
        with self._redis.guarded():
            async with self._redis.client.pipeline(transaction=True) as both:
                both.hmget(f"{prefix}streams:{session_id}", [b"n:" + name, b"o:" + name])
                both.lrange(f"{prefix}log:{session_id}", 0, -1)
                (newest, is_over), entries = await both.execute()
        if newest is None or not 0 <= after <= int(newest):
            return None
        split = (entry.split(b":", 2) for entry in entries)
        events = [StoredEvent(int(n), body) for of, n, body in split if of == name and int(n) > after]
        return Replay(events, is_over is not None) if len(events) == int(newest) - after else None

    async def forget(self, session_id: str) -> None:
        await self._run(self._forget, session_id)

    async def _run(self, script: Script, session_id: str, *arguments: str | bytes | int) -> Any:
        now_ms = round(self._clock.now().timestamp() * 1000)
        return await self._redis.run(script, session_id, now_ms, self._kept_ms, *arguments)


def _written(session_id: str, holder: Holder | None) -> tuple[str, str]:
    return keys_of(holder or Holder(None, session_id))
