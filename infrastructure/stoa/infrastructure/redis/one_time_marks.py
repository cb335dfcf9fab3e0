"""One-time marks in Redis: PREFIX used:MARK, which Redis drops when it expires."""

from stoa.application.ports import Clock, OneTimeMarks
from stoa.infrastructure.redis.connection import RedisConnection

_SPARE_SECONDS = 60
"""Extra lifetime of a mark, because the replicas' clocks agree only to a few seconds."""


class RedisOneTimeMarks(OneTimeMarks):
    def __init__(self, redis: RedisConnection, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    async def take(self, mark: str, expires_at: float) -> bool:
        left = max(0.0, expires_at - self._clock.now().timestamp()) + _SPARE_SECONDS
        with self._redis.guarded():
            key = f"{self._redis.prefix}used:{mark}"
            return bool(await self._redis.client.set(key, b"", nx=True, px=round(left * 1000)))
