"""Sessions in Redis.

    PREFIX session:ID    hash: `data`, the session as JSON
    PREFIX sessions-...  who has how many (`shares.py`), by last use; a session that is not in it is gone

Times are milliseconds of the replicas' own clocks, which have to agree to a few seconds; the idle time is half an hour.
Redis expires keys that no script has removed.
"""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from stoa.application.memory.session_store import CAPACITY, IDLE_SECONDS, PER_IDENTITY, PER_TENANT
from stoa.application.ports import Clock, SessionStore
from stoa.application.ports.session_store import Change
from stoa.domain.calls.session import Session
from stoa.domain.errors import SessionsFull, SharedStateUnavailable
from stoa.infrastructure.redis.connection import RedisConnection, Script
from stoa.infrastructure.redis.shares import LUA, keys_of

_TRIES = 64
"""Upper bound on concurrent changes of one session between reading and writing it."""

_COMMON = (
    """
local prefix, id, now, idle = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local key = prefix .. 'session:' .. id
local kept_for = idle + 60000
"""
    + LUA
    + """
local held = shares('sessions', kept_for)
local function lives()
  local used = redis.call('ZSCORE', held.all, id)
  return used and tonumber(used) > now - idle and redis.call('EXISTS', key) == 1
end
local function forget(who)
  held.drop(who)
  redis.call('DEL', prefix .. 'session:' .. who)
end
"""
)

_CREATE = """
local owner, tenant, data = ARGV[5], ARGV[6], ARGV[7]
local caps = {tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])}
for _, gone in ipairs(held.ended(now - idle)) do forget(gone) end
if held.room(id, owner, tenant, 1, caps, true, forget) then return 0 end
held.keep(id, owner, tenant, 1, now)
redis.call('HSET', key, 'data', data)
redis.call('PEXPIRE', key, kept_for)
return 1
"""

_FIND = """
if not lives() then return false end
held.use(id, now)
redis.call('PEXPIRE', key, kept_for)
return redis.call('HGET', key, 'data')
"""

_READ = """
return lives() and redis.call('HGET', key, 'data')
"""

_REPLACE = """
if not lives() or redis.call('HGET', key, 'data') ~= ARGV[5] then return 0 end
redis.call('HSET', key, 'data', ARGV[6])
return 1
"""

_DELETE = """
forget(id)
"""

_FORMAT = TypeAdapter(Session)


class RedisSessionStore(SessionStore):
    """A SessionStore on Redis. `idle_seconds`, `capacity`, `per_tenant`, `per_identity`: must be the same on all
    replicas."""

    def __init__(
        self,
        redis: RedisConnection,
        clock: Clock,
        *,
        idle_seconds: float = IDLE_SECONDS,
        capacity: int = CAPACITY,
        per_tenant: int = PER_TENANT,
        per_identity: int = PER_IDENTITY,
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._idle_ms = round(idle_seconds * 1000)
        self._caps = (per_identity, per_tenant, capacity)
        texts = (_CREATE, _FIND, _READ, _REPLACE, _DELETE)
        self._create, self._find, self._read, self._replace, self._delete = (
            redis.script(_COMMON + text) for text in texts
        )

    async def create(self, session: Session) -> None:
        data = _FORMAT.dump_json(session)
        if not await self._run(self._create, session.id, *keys_of(session.holder), data, *self._caps):
            raise SessionsFull

    async def find(self, session_id: str) -> Session | None:
        return _read(await self._run(self._find, session_id))

    async def update(self, session_id: str, change: Change) -> None:
        for _ in range(_TRIES):
            data = await self._run(self._read, session_id)
            session = _read(data)
            if session is None:
                return
            if await self._run(self._replace, session_id, data, _FORMAT.dump_json(change(session))):
                return
        raise SharedStateUnavailable

    async def delete(self, session_id: str) -> None:
        await self._run(self._delete, session_id)

    async def _run(self, script: Script, session_id: str, *arguments: str | bytes | int) -> Any:
        now_ms = round(self._clock.now().timestamp() * 1000)
        return await self._redis.run(script, session_id, now_ms, self._idle_ms, *arguments)


def _read(data: bytes | None) -> Session | None:
    """Reads a stored session. None if another version of the gateway wrote it in a form that this one cannot read: the
    client begins a new session."""
    if data is None:
        return None
    try:
        return _FORMAT.validate_json(data)
    except ValidationError:
        return None
