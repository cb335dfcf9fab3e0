"""A replica that only counts: `python -m tests.e2e.limit_worker URL PREFIX`. Each line on its standard input is a list
of calls, `[[moment in microseconds, caller, requests per minute, burst], ...]`; it answers with which were admitted."""

import asyncio
import json
import sys
from collections.abc import Sequence

from stoa.domain.access.rate_limit import LimitCharge, RateLimit
from stoa.infrastructure.redis import RedisConnection, RedisRateLimiter
from stoa.testing.clock import ManualClock

Call = tuple[int, str, int, int]


class Replica:
    """Calls come in the order of their moments, several at a time."""

    def __init__(self, url: str, prefix: str) -> None:
        self.redis = RedisConnection(url, prefix=prefix)
        self._clock = ManualClock()
        self._limiter = RedisRateLimiter(self.redis, self._clock, decides=True)

    async def take(self, calls: Sequence[Call]) -> list[bool]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(call)) for call in calls]
        return [task.result() for task in tasks]

    async def _one(self, call: Call) -> bool:
        moment, caller, rate, burst = call
        charge = LimitCharge("caller", caller, RateLimit(requests_per_minute=rate, burst=burst))
        behind = moment - self._clock.monotonic_ns() // 1000
        self._clock.advance(max(0, behind) / 1e6)
        if self._limiter.refusal([charge]) is not None:
            return False
        return (await self._limiter.take([charge])).is_allowed


async def _serve(replica: Replica) -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        sys.stdout.write(json.dumps(await replica.take(json.loads(line))) + "\n")
        sys.stdout.flush()
    await replica.redis.close()


if __name__ == "__main__":
    asyncio.run(_serve(Replica(sys.argv[1], sys.argv[2])))
