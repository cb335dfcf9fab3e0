"""Messages of streams in Redis.

PREFIX log:SESSION      list: the newest messages of a session's streams, each as STREAM:NUMBER:MESSAGE
PREFIX streams:SESSION  hash: `n:STREAM`, the newest number; `o:STREAM`, when that was the last one
PREFIX logs             sorted set: sessions by their newest message
PREFIX log-sizes        hash: bytes of each session's messages
PREFIX log-total        bytes of all
"""

from typing import Any

from stoa.application.memory.event_store import BYTES, MESSAGES
from stoa.application.memory.session_store import IDLE_SECONDS
from stoa.application.ports import Clock, EventStore, Replay, StoredEvent
from stoa.infrastructure.redis.connection import RedisConnection, Script, translated

TOTAL_BYTES = 256 * 1024 * 1024

_COMMON = """
local prefix, session, now, kept_for = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local logs, sizes, total = prefix .. 'logs', prefix .. 'log-sizes', prefix .. 'log-total'
local log, streams = prefix .. 'log:' .. session, prefix .. 'streams:' .. session
local function forget(who)
  local size = tonumber(redis.call('HGET', sizes, who) or 0)
  redis.call('DECRBY', total, size)
  redis.call('HDEL', sizes, who)
  redis.call('ZREM', logs, who)
  redis.call('DEL', prefix .. 'log:' .. who, prefix .. 'streams:' .. who)
end
local function touch()
  redis.call('ZADD', logs, 'GT', now, session)
  for _, key in ipairs({log, streams, logs, sizes, total}) do redis.call('PEXPIRE', key, kept_for) end
end
"""

_BEGIN = """
redis.call('HSETNX', streams, 'n:' .. ARGV[5], 0)
touch()
return tonumber(redis.call('HGET', streams, 'n:' .. ARGV[5]))
"""

_APPEND = """
local stream, message, is_last = ARGV[5], ARGV[6], ARGV[7]
local most, room, room_for_all = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
for _, who in ipairs(redis.call('ZRANGEBYSCORE', logs, '-inf', now - kept_for, 'LIMIT', 0, 100)) do forget(who) end
local number = redis.call('HINCRBY', streams, 'n:' .. stream, 1)
if is_last == '1' then redis.call('HSET', streams, 'o:' .. stream, 1) end
redis.call('RPUSH', log, stream .. ':' .. number .. ':' .. message)
local before = tonumber(redis.call('HGET', sizes, session) or 0)
local size = before + #message
while redis.call('LLEN', log) > most or size > room do
  local entry = redis.call('LPOP', log)
  local _, head, of, n = string.find(entry, '^([^:]*):(%d+):')
  size = size - (#entry - head)
  if redis.call('HEXISTS', streams, 'o:' .. of) == 1 and redis.call('HGET', streams, 'n:' .. of) == n then
    redis.call('HDEL', streams, 'o:' .. of, 'n:' .. of)
  end
end
redis.call('HSET', sizes, session, size)
local held = redis.call('INCRBY', total, size - before)
touch()
while held > room_for_all and redis.call('ZCARD', logs) > 1 do
  local silent = redis.call('ZRANGE', logs, 0, 1)
  forget(silent[1] ~= session and silent[1] or silent[2])
  held = tonumber(redis.call('GET', total))
end
return number
"""

_FORGET = """
forget(session)
"""


class RedisEventStore(EventStore):
    """`messages`, `size`: how many messages, and bytes of them, are kept of one session; `total`: bytes of all.
    The session that is silent for longest gives way first, and after `kept_seconds` in any case."""

    def __init__(
        self,
        redis: RedisConnection,
        clock: Clock,
        *,
        messages: int = MESSAGES,
        size: int = BYTES,
        total: int = TOTAL_BYTES,
        kept_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._limits = (messages, size, total)
        self._kept_ms = round(kept_seconds * 1000)
        self._begin, self._append, self._forget = (redis.script(_COMMON + text) for text in (_BEGIN, _APPEND, _FORGET))

    async def begin(self, session_id: str, stream: str) -> int:
        return int(await self._run(self._begin, session_id, stream))

    async def append(self, session_id: str, stream: str, message: bytes, *, is_last: bool = False) -> int:
        return int(await self._run(self._append, session_id, stream, message, int(is_last), *self._limits))

    async def replay(self, session_id: str, stream: str, after: int) -> Replay | None:
        prefix, name = self._redis.prefix, stream.encode()
        with translated():
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
