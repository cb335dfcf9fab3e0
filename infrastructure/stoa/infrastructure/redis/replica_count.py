"""Counts the processes that share one Redis: each announces itself every few seconds and remembers the current number.

    PREFIX replicas   sorted set: a random name of each process, by the server's time when it was last heard, in
                      milliseconds

Workers of one server are processes like any other.
"""

import asyncio
import secrets
from contextlib import suppress

from stoa.domain.errors import SharedStateUnavailable
from stoa.infrastructure.redis.connection import RedisConnection

EVERY_SECONDS = 2.0
_MISSED = 3
"""Missed announcements after which a process counts as gone."""

_BEAT = """
local key, every = ARGV[1] .. 'replicas', tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', key, string.format('%.0f', now), ARGV[2])
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now - every))
redis.call('PEXPIRE', key, ARGV[3])
return redis.call('ZCARD', key)
"""

_LEAVE = """
redis.call('ZREM', ARGV[1] .. 'replicas', ARGV[2])
"""


class ReplicaCount:
    """The number of processes that share Redis. `assumed`: the number until it was first read."""

    def __init__(self, redis: RedisConnection, *, assumed: int = 1, every_seconds: float = EVERY_SECONDS) -> None:
        self._redis = redis
        self._seen = assumed
        self._every_seconds = every_seconds
        self._name = secrets.token_hex(8)
        self._beat, self._leave = redis.script(_BEAT), redis.script(_LEAVE)

    def __call__(self) -> int:
        """The number as last read, at least 1."""
        return max(1, self._seen)

    async def beat(self) -> None:
        """Announces this process and reads the number. While Redis is away the last number stays."""
        with suppress(SharedStateUnavailable):
            kept_for = round(_MISSED * self._every_seconds * 1000)
            self._seen = int(await self._redis.run(self._beat, self._name, kept_for))

    async def watch(self) -> None:
        """Announces this process regularly, until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(self._every_seconds)

    async def leave(self) -> None:
        """Removes this process, so that the others need not wait until it is missed."""
        with suppress(SharedStateUnavailable):
            await self._redis.run(self._leave, self._name)
