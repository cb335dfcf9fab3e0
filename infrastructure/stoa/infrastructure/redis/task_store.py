"""Tasks in Redis, for replicas on several machines. They survive what that Redis survives.

    PREFIX task:ID         hash: `version`; `over`, 1 when it is terminal; `end`, when it expires; `record`, the task
    PREFIX tasks-of:OWNER  sorted set: the tasks of one owner by when they expire

Times are milliseconds of the replicas' own clocks, which have to agree to a few seconds; a task lives for an hour.
Redis drops by itself what no script has removed.
"""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from stoa.application import task_record
from stoa.application.memory.task_store import TASKS_PER_OWNER
from stoa.application.ports.clock import Clock
from stoa.application.ports.task_store import TaskStore
from stoa.domain.errors import QuotaExceeded, SharedStateUnavailable, TasksUnavailable
from stoa.domain.task import Task
from stoa.infrastructure.redis.connection import RedisConnection, Script

_COMMON = """
local prefix, id, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = prefix .. 'task:' .. id
local function lives()
  local ends = redis.call('HGET', key, 'end')
  return ends and tonumber(ends) > now
end
local function keep()
  local own, ends = prefix .. 'tasks-of:' .. ARGV[4], ARGV[5]
  local kept_for = ends - now + 60000
  redis.call('HSET', key, 'end', ends, 'version', ARGV[6], 'over', ARGV[7], 'record', ARGV[8])
  redis.call('ZADD', own, ends, id)
  redis.call('PEXPIRE', key, kept_for)
  redis.call('PEXPIRE', own, math.max(kept_for, redis.call('PTTL', own)))
end
"""

_CREATE = """
local own = prefix .. 'tasks-of:' .. ARGV[4]
redis.call('ZREMRANGEBYSCORE', own, '-inf', now)
if redis.call('ZCARD', own) >= tonumber(ARGV[9]) then
  return redis.call('ZRANGE', own, 0, 0, 'WITHSCORES')[2]
end
keep()
return false
"""

_FIND = """
return lives() and redis.call('HGET', key, 'record')
"""

_REPLACE = """
if not lives() or redis.call('HGET', key, 'version') ~= ARGV[9] or redis.call('HGET', key, 'over') == '1' then
  return 0
end
keep()
return 1
"""


class RedisTaskStore(TaskStore):
    """`per_owner`: the same on all replicas. Closing it leaves `redis` open."""

    def __init__(self, redis: RedisConnection, clock: Clock, *, per_owner: int = TASKS_PER_OWNER) -> None:
        self._redis = redis
        self._clock = clock
        self._per_owner = per_owner
        self._create, self._find, self._replace = (redis.script(_COMMON + text) for text in (_CREATE, _FIND, _REPLACE))

    async def create(self, task: Task) -> None:
        first_end = await self._run(self._create, task.id, *_fields(task), self._per_owner)
        if first_end is not None:
            raise QuotaExceeded("tasks", (float(first_end) - _milliseconds(self._clock.now())) / 1000)

    async def find(self, task_id: str) -> Task | None:
        record = await self._run(self._find, task_id)
        return None if record is None else task_record.load(record)

    async def replace(self, task: Task, over: int) -> bool:
        return bool(await self._run(self._replace, task.id, *_fields(task), over))

    async def close(self) -> None:
        """Nothing is open here."""

    async def _run(self, script: Script, task_id: str, *arguments: str | bytes | int) -> Any:
        with _translated():
            return await self._redis.run(script, task_id, _milliseconds(self._clock.now()), *arguments)


def _fields(task: Task) -> tuple[str | bytes | int, ...]:
    ends = _milliseconds(task.expires_at)
    return task.owner, ends, task.version, int(task.is_over), task_record.dump(task)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except SharedStateUnavailable as lost:
        raise TasksUnavailable("Tasks cannot be kept at the moment") from lost
