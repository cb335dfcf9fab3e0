"""Approvals in Redis: PREFIX approved:KEY, without an end."""

from stoa.application.ports import Approvals
from stoa.infrastructure.redis.connection import RedisConnection


class RedisApprovals(Approvals):
    def __init__(self, redis: RedisConnection) -> None:
        self._redis = redis

    async def add(self, key: str) -> None:
        with self._redis.guarded():
            await self._redis.client.set(self._name(key), b"")

    async def has(self, key: str) -> bool:
        with self._redis.guarded():
            return bool(await self._redis.client.exists(self._name(key)))

    def _name(self, key: str) -> str:
        return f"{self._redis.prefix}approved:{key}"
