"""What `stoa doctor` says of a Redis."""

from typing import Any

import pytest
from tests.services import redis_in_process

from stoa.application.memory.clock import SystemClock
from stoa.application.run_checks import CheckResult, Verdict
from stoa.infrastructure.redis import RedisConnection
from stoa.infrastructure.redis.checkup import check_redis, server_results

FINE = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "maxmemory": 1, "cluster_enabled": 0}


async def _checked(url: str) -> dict[str, CheckResult]:
    connection = RedisConnection(url, timeout_seconds=1.0)
    try:
        return {one.what: one for one in await check_redis(connection, SystemClock())}
    finally:
        await connection.close()


async def test_doctor_finds_a_redis_that_is_there() -> None:
    with redis_in_process() as url:
        found = await _checked(url)
    assert found["latency"].verdict in {Verdict.OK, Verdict.WARN}
    assert found["version"].verdict is Verdict.WARN  # this one knows no INFO, as a user who may not ask does not
    assert "reachable" not in found


async def test_doctor_says_why_a_redis_is_not_reached() -> None:
    with redis_in_process() as url:
        pass
    found = (await _checked(url))["reachable"]
    assert found.verdict is Verdict.FAIL
    assert found.reason == "nothing listens at its address"
    assert "REDIS_URL" in found.remedy


@pytest.mark.parametrize(
    ("what", "verdict", "info"),
    [
        ("version", Verdict.FAIL, {"redis_version": "6.0.16"}),
        ("version", Verdict.OK, {"redis_version": "6.2.0"}),
        ("cluster", Verdict.FAIL, {"cluster_enabled": 1}),
        ("eviction", Verdict.WARN, {"maxmemory_policy": "allkeys-lru"}),
        ("eviction", Verdict.OK, {"maxmemory_policy": "allkeys-lru", "maxmemory": 0}),
        ("eviction", Verdict.OK, {}),
        ("role", Verdict.FAIL, {"role": "slave"}),
    ],
)
def test_doctor_judges_what_a_redis_says_of_itself(what: str, verdict: Verdict, info: dict[str, Any]) -> None:
    found = {one.what: one for one in server_results(FINE | info)}
    assert found[what].verdict is verdict
