"""Redis behind something that fails in its own way, as load balancers do, in both event loops."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from tests.services import Wire, connections, wire

from stoa.application.concurrency.circuit_breaker import CircuitBreaker
from stoa.application.memory.clock import SystemClock
from stoa.application.ports import Subscription
from stoa.domain.errors import SharedStateUnavailable
from stoa.infrastructure.redis import RedisConnection, RedisMessageBus, ReplicaCount
from stoa.infrastructure.redis.connection import Script

OUTAGES: dict[str, Callable[[Wire], None]] = {"reset": Wire.cut, "closed": Wire.hang_up, "silent": Wire.silence}
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Replica:
    """What one replica has of Redis."""

    def __init__(self, redis: RedisConnection, breaker: CircuitBreaker, way: Wire) -> None:
        self.redis, self.breaker, self.way = redis, breaker, way
        self.bus = RedisMessageBus(redis, retry_seconds=0.01)
        self.count = ReplicaCount(redis, every_seconds=0.02)
        self.question: Script = redis.script("return 1")
        self.answers = 0

    async def ask_until_the_breaker_opens(self) -> None:
        """Every answer is one, or SharedStateUnavailable."""
        while not self.breaker.is_open:
            try:
                self.answers += await self.redis.run(self.question)
            except SharedStateUnavailable:
                await asyncio.sleep(0)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.005)


@asynccontextmanager
async def _replica(url: str) -> AsyncGenerator[Replica]:
    breaker = CircuitBreaker(SystemClock(), probe_seconds=0.01)
    async with wire(url) as way, connections(way.url, timeout_seconds=0.2, breaker=breaker) as (redis,):
        replica = Replica(redis, breaker, way)
        counting = asyncio.create_task(replica.count.watch())
        try:
            yield replica
            assert not counting.done()
        finally:
            counting.cancel()
            way.mend()
            await replica.bus.close()


async def _next(subscription: Subscription) -> bytes | None:
    async with asyncio.timeout(20):
        return await subscription.next()


def _run(loop: str, work: Any) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("outage", OUTAGES)
def test_redis_outage_of_every_kind_is_over_when_the_server_is_back(
    outage: str, loop: str, in_process_redis: str
) -> None:
    async def run() -> None:
        async with _replica(in_process_redis) as replica:
            heard = await replica.bus.subscribe("t")
            OUTAGES[outage](replica.way)
            async with asyncio.timeout(20):
                await asyncio.gather(*(replica.ask_until_the_breaker_opens() for _ in range(8)))
            for question in (replica.redis.run(replica.question), replica.bus.subscribe("u")):
                with pytest.raises(SharedStateUnavailable):
                    question.send(None)  # at once: it waits for nothing

            replica.way.mend()
            await replica.until(lambda: not replica.breaker.is_open)
            assert await _next(heard) is None  # told of the gap, and in force again
            await (await replica.bus.subscribe("u")).close()
            await replica.bus.publish("t", b"back")
            assert await _next(heard) == b"back"
            assert replica.bus.health().findings == ()
            await replica.until(lambda: replica.count() == 1)

    _run(loop, run())


@pytest.mark.live
@pytest.mark.parametrize("outage", OUTAGES)
def test_redis_outage_of_a_real_server_is_over_when_it_is_back(outage: str, real_redis: str) -> None:
    test_redis_outage_of_every_kind_is_over_when_the_server_is_back(outage, "uvloop", real_redis)
