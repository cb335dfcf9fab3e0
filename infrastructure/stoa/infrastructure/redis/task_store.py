"""Tasks in Redis, for replicas on several machines. They are as durable as that Redis.

    PREFIX task:ID         hash: `version`; `over`, 1 when it is terminal; `end`, when it expires; `record`, the task
    PREFIX tasks-...       who has how many, by when they expire (`shares.py`)
    PREFIX task-bytes-...  who has how many bytes of them
    PREFIX task-leases     sorted set: the tasks that a process runs, by the end of their lease

Times are milliseconds of the replicas' own clocks, which have to agree to a few seconds; a task lives for an hour.
Redis expires keys that no script has removed.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from stoa.application.ports.clock import Clock
from stoa.application.ports.task_store import ABANDONED_AT_ONCE, TaskStore
from stoa.application.tasks import task_record
from stoa.application.tasks.caps import TASK_CAPS, TaskCaps, refusal
from stoa.domain.access.fair_share import Bound
from stoa.domain.calls.task import Task
from stoa.domain.errors import SharedStateUnavailable, TasksUnavailable
from stoa.infrastructure.redis.connection import RedisConnection, Script
from stoa.infrastructure.redis.shares import LUA, keys_of

_COMMON = (
    """
local prefix, id, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = prefix .. 'task:' .. id
"""
    + LUA
    + """
local kept_for = ARGV[6] and math.max(0, ARGV[6] - now) + 60000 or 0
local number, bytes = shares('tasks', kept_for), shares('task-bytes', kept_for)
local leases = prefix .. 'task-leases'
local function lives()
  local ends = redis.call('HGET', key, 'end')
  return ends and tonumber(ends) > now
end
local function forget(who)
  number.drop(who)
  bytes.drop(who)
  redis.call('DEL', prefix .. 'task:' .. who)
  redis.call('ZREM', leases, who)
end
-- which bound was met, and when the first task ends that counts for the same
local function full(bound, what, owner, tenant)
  local ends = number.first()
  if bound == 'caller' then ends = number.first_of(owner) end
  if bound == 'tenant' then ends = number.first_in(tenant) end
  return what .. ':' .. bound .. ':' .. (ends or ARGV[6])
end
local function keep(added)
  local owner, tenant, ends, record = ARGV[4], ARGV[5], ARGV[6], ARGV[9]
  local most = {tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])}
  local room = {tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])}
  local bound = number.room(id, owner, tenant, added, most, false, forget)
  if bound then return full(bound, 'tasks', owner, tenant) end
  bound = bytes.room(id, owner, tenant, #record - bytes.size(id), room, false, forget)
  if bound then return full(bound, 'bytes', owner, tenant) end
  number.keep(id, owner, tenant, 1, ends)
  bytes.keep(id, owner, tenant, #record, ends)
  redis.call('HSET', key, 'end', ends, 'version', ARGV[7], 'over', ARGV[8], 'record', record)
  redis.call('PEXPIRE', key, kept_for)
  if ARGV[16] == '' then
    redis.call('ZREM', leases, id)
  else
    redis.call('ZADD', leases, ARGV[16], id)
    redis.call('PEXPIRE', leases, math.max(kept_for, redis.call('PTTL', leases)))
  end
  return false
end
"""
)

_CREATE = """
for _, gone in ipairs(number.ended(now)) do forget(gone) end
return keep(1)
"""

_FIND = """
return lives() and redis.call('HGET', key, 'record')
"""

_REPLACE = """
if not lives() or redis.call('HGET', key, 'version') ~= ARGV[17] or redis.call('HGET', key, 'over') == '1' then
  return 0
end
return keep(0) or 1
"""


_ABANDONED = """
local leases = ARGV[1] .. 'task-leases'
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local record = redis.call('HGET', ARGV[1] .. 'task:' .. id, 'record')
  if record then table.insert(found, record) else redis.call('ZREM', leases, id) end
end
return found
"""


class RedisTaskStore(TaskStore):
    """A TaskStore on Redis. `caps`: must be the same on all replicas. Closing it leaves `redis` open."""

    def __init__(self, redis: RedisConnection, clock: Clock, *, caps: TaskCaps = TASK_CAPS) -> None:
        self._redis = redis
        self._clock = clock
        self._caps = tuple(
            cap for caps in (caps.number, caps.size) for cap in (caps.per_caller, caps.per_tenant, caps.total)
        )
        self._create, self._find, self._replace = (redis.script(_COMMON + text) for text in (_CREATE, _FIND, _REPLACE))
        self._abandoned = redis.script(_ABANDONED)

    async def create(self, task: Task) -> None:
        self._refuse(await self._run(self._create, task.id, *_fields(task), *self._caps, _lease(task)))

    async def find(self, task_id: str) -> Task | None:
        record = await self._run(self._find, task_id)
        return None if record is None else task_record.load(record)

    async def replace(self, task: Task, over: int) -> bool:
        answer = await self._run(self._replace, task.id, *_fields(task), *self._caps, _lease(task), over)
        self._refuse(None if isinstance(answer, int) else answer)
        return bool(answer)

    async def abandoned(self) -> Sequence[Task]:
        now = self._clock.now()
        with _translated():
            records = await self._redis.run(self._abandoned, _milliseconds(now), ABANDONED_AT_ONCE)
        return [task for task in map(task_record.load, records) if task.is_abandoned(now) and task.expires_at > now]

    def _refuse(self, full: bytes | None) -> None:
        """Raises QuotaExceeded if the script refused the task."""
        if full is not None:
            what, bound, end = full.decode().split(":")
            wait = (float(end) - _milliseconds(self._clock.now())) / 1000
            raise refusal(Bound(bound), is_size=what == "bytes", retry_after_seconds=wait)

    async def close(self) -> None:
        """Does nothing: the store opened nothing of its own."""

    async def _run(self, script: Script, task_id: str, *arguments: str | bytes | int) -> Any:
        with _translated():
            return await self._redis.run(script, task_id, _milliseconds(self._clock.now()), *arguments)


def _fields(task: Task) -> tuple[str | bytes | int, ...]:
    ends = _milliseconds(task.expires_at)
    return *keys_of(task.holder), ends, task.version, int(task.is_over), task_record.dump(task)


def _lease(task: Task) -> str | int:
    return "" if task.lease_until is None else _milliseconds(task.lease_until)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except SharedStateUnavailable as lost:
        raise TasksUnavailable("Tasks cannot be kept at the moment") from lost
