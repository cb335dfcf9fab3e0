"""Redis checks for `stoa doctor`: the server is reachable, new enough, fast, and evicts nothing."""

import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from stoa.application.ports.clock import Clock
from stoa.application.run_checks import CheckResult, Verdict
from stoa.infrastructure.http_client.problems import connection_problem
from stoa.infrastructure.redis.connection import LOST, RedisConnection

OLDEST = (6, 2)
_PINGS = 5
_SLOW_MS = 20.0
"""Latency from which Redis is reported as slow, because a call waits for it once or twice."""


async def check_redis(redis: RedisConnection, clock: Clock) -> Sequence[CheckResult]:
    try:
        taken: list[float] = []
        for _ in range(_PINGS):
            began = clock.monotonic_ns()
            await redis.client.ping()
            taken.append((clock.monotonic_ns() - began) / 1e6)
    except LOST as lost:
        reason = connection_problem(lost)
        detail = f"{reason}: {_first_line(lost)}" if reason == type(lost).__name__ else reason
        remedy = "start it, or mend REDIS_URL (host, port, user, password, rediss: for TLS)"
        return [CheckResult(Verdict.FAIL, "reachable", detail, remedy)]
    latency = _latency(statistics.median(taken))
    try:
        info: dict[str, Any] = await redis.client.info()
    except LOST as lost:
        reason = f"INFO is refused, so version and eviction are not known: {_first_line(lost)}"
        return [latency, CheckResult(Verdict.WARN, "version", reason, "allow this user the command INFO")]
    return [latency, *server_results(info)]


def _latency(milliseconds: float) -> CheckResult:
    detail = f"{milliseconds:.1f} ms"
    if milliseconds > _SLOW_MS:
        return CheckResult(Verdict.WARN, "latency", detail, "each governed call waits that long; run it nearby")
    return CheckResult(Verdict.OK, "latency", detail)


def server_results(info: dict[str, Any]) -> Iterable[CheckResult]:
    """Results from the answer to INFO."""
    version = str(info.get("redis_version", "?"))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        yield CheckResult(Verdict.FAIL, "version", version, "Redis 6.2 or newer is needed")
    else:
        yield CheckResult(Verdict.OK, "version", version)
    if info.get("cluster_enabled"):
        yield CheckResult(Verdict.FAIL, "cluster", "it is a cluster", "use one server, or one with replicas")
    policy, most = str(info.get("maxmemory_policy", "?")), info.get("maxmemory", 0)
    if policy not in {"noeviction", "?"} and most:
        reason = f"maxmemory-policy is {policy}: when memory is short, limits, budgets, sessions and tasks vanish"
        yield CheckResult(Verdict.WARN, "eviction", reason, "set maxmemory-policy noeviction")
    else:
        yield CheckResult(Verdict.OK, "eviction", "nothing is evicted")
    if str(info.get("role")) == "slave":
        reason = "it is a replica, which takes no writes"
        yield CheckResult(Verdict.FAIL, "role", reason, "name the primary in REDIS_URL")


def _first_line(lost: BaseException) -> str:
    """The first line of the server's message (`NOAUTH Authentication required.`); redis-py quotes no password."""
    return str(lost).partition("\n")[0][:120]
