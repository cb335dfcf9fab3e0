"""How many processes share a Redis."""

import pytest
from tests.services import connections, wire

from stoa.infrastructure.redis import RedisConnection, ReplicaCount

pytestmark = pytest.mark.parametrize("server", ["in_process_redis", pytest.param("real_redis", marks=pytest.mark.live)])


@pytest.fixture
def url(request: pytest.FixtureRequest, server: str) -> str:
    return str(request.getfixturevalue(server))


async def _last_heard(redis: RedisConnection, name: str, seconds_ago: float) -> None:
    seconds, micros = await redis.client.time()
    moment = seconds * 1000 + micros // 1000 - round(seconds_ago * 1000)
    await redis.client.zadd(f"{redis.prefix}replicas", {name: moment})


async def test_each_process_sees_the_others_until_they_leave(url: str) -> None:
    async with connections(url, url, url) as made:
        counts = [ReplicaCount(redis, assumed=7) for redis in made]
        assert [count() for count in counts] == [7, 7, 7]
        for count in (*counts, *counts):
            await count.beat()
        assert [count() for count in counts] == [3, 3, 3]
        await counts[2].leave()
        await counts[0].beat()
        assert counts[0]() == 2


async def test_who_misses_three_beats_is_gone(url: str) -> None:
    async with connections(url) as (redis,):
        count = ReplicaCount(redis, every_seconds=10)
        await _last_heard(redis, "slow", 25)
        await _last_heard(redis, "dead", 31)
        await count.beat()
        assert count() == 2
        assert 0 < await redis.client.pttl(f"{redis.prefix}replicas") <= 30_000


async def test_while_redis_is_away_the_last_number_stays(url: str) -> None:
    async with wire(url) as cable, connections(url, cable.url, prefix="away-test") as (near, far):
        other, count = ReplicaCount(near), ReplicaCount(far)
        await other.beat()
        await count.beat()
        assert count() == 2
        cable.cut()
        await other.leave()
        await count.beat()
        assert count() == 2
        cable.mend()
        await count.beat()
        assert count() == 1
