"""One limit for all replicas: in 60 seconds no caller gets more than `burst + rate * time`, whoever answers."""

import asyncio
import json
import random
import secrets
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.e2e.limit_worker import Call, Replica
from tests.e2e.processes import GatewayProcess, serving

SECONDS = 60
REPOSITORY = Path(__file__).parents[2]


def arrivals(seed: int, callers: int) -> list[list[Call]]:
    """For each second the calls of these callers: some stay below their rate, most ask for several times as much, in
    bursts."""
    chance = random.Random(seed)
    seconds: list[list[Call]] = [[] for _ in range(SECONDS)]
    for number in range(callers):
        rate, burst = chance.choice([6, 30, 60, 200, 600]), chance.choice([1, 5, 10, 40])
        moment, pace = 0.0, rate / 60 * chance.choice([0.5, 1, 2, 4])
        while moment < SECONDS:
            for _ in range(chance.choice([1, 1, 1, burst, 2 * burst])):
                seconds[int(moment)].append((round(moment * 1e6), f"caller {number}", rate, burst))
            moment += chance.expovariate(pace)
    return [sorted(calls) for calls in seconds]


def check(admitted: dict[tuple[str, int, int], list[int]]) -> float:
    """The law, exactly, for every window; returns the largest part of what is allowed in a minute that somebody got."""
    fullest = 0.0
    for (caller, rate, burst), moments in admitted.items():
        moments.sort()
        for first, begin in enumerate(moments):
            for last in range(first, len(moments)):
                window = moments[last] - begin
                assert (last - first + 1) * 60_000_000 <= burst * 60_000_000 + rate * window, caller
        fullest = max(fullest, len(moments) / (burst + rate * SECONDS / 60))
    return fullest


class _Worker:
    """A replica in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def take(self, calls: Sequence[Call]) -> list[bool]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(calls).encode() + b"\n")
        answer: list[bool] = json.loads(await self._process.stdout.readline())
        return answer

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@asynccontextmanager
async def replicas(url: str, *, workers: int, here: int) -> AsyncGenerator[list[Replica | _Worker]]:
    prefix = secrets.token_hex(8)
    command = [sys.executable, "-m", "tests.e2e.limit_worker", url, prefix]
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE, "limit": 2**22}
    processes = [
        _Worker(await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, **pipes))  # type: ignore[arg-type]
        for _ in range(workers)
    ]
    within = [Replica(url, prefix) for _ in range(here)]
    try:
        yield [*processes, *within]
    finally:
        for worker in processes:
            await worker.end()
        for replica in within:
            await replica.redis.close()


async def _simulate(url: str, seed: int, *, workers: int, here: int, callers: int = 40) -> None:
    chance = random.Random(seed)
    admitted: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    plan, started = arrivals(seed, callers), time.monotonic()
    async with replicas(url, workers=workers, here=here) as all_replicas:
        for calls in plan:
            parts: list[list[Call]] = [[] for _ in all_replicas]
            for call in calls:
                chance.choice(parts).append(call)
            pairs = zip(all_replicas, parts, strict=True)
            answers = await asyncio.gather(*(replica.take(part) for replica, part in pairs))
            for part, answer in zip(parts, answers, strict=True):
                for (moment, caller, rate, burst), is_reserved in zip(part, answer, strict=True):
                    if is_reserved:
                        admitted[caller, rate, burst].append(moment)
    fullest = check(admitted)
    assert fullest > 0.9, "somebody used the limit up, or nothing was shown"
    total, taken = sum(map(len, plan)), sum(map(len, admitted.values()))
    print(
        f"{workers} processes and {here} replicas: {taken} of {total} calls of {len(admitted)} callers admitted in "
        f"{SECONDS} simulated seconds, at most {fullest:.1%} of a limit ({time.monotonic() - started:.1f} s)"
    )


@pytest.mark.parametrize("seed", [2, 7])
async def test_five_replicas_admit_no_more_than_one(in_process_redis: str, seed: int) -> None:
    await _simulate(in_process_redis, seed, workers=0, here=5, callers=5)


@pytest.mark.live
@pytest.mark.parametrize("seed", range(3))
async def test_two_processes_and_three_replicas_admit_no_more_than_one(real_redis: str, seed: int) -> None:
    await _simulate(real_redis, seed, workers=2, here=3)


def _flood(gateway: GatewayProcess, calls: int) -> tuple[int, float]:
    """So many calls of one viewer, each over a connection of its own, so that both workers are met; how many were
    looked for, and in what time. There is no such tool, which counts like any call."""
    headers = {"authorization": f"Bearer {gateway.token('viewer')}"}

    def ask(_: int) -> int:
        url = f"{gateway.url}/mcp/v1/tools/nothing/invoke"
        return httpx.post(url, headers=headers, json={}, trust_env=False, timeout=20).status_code

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(ask, range(calls)))
    assert set(statuses) == {404, 429}
    return statuses.count(404), time.monotonic() - started


@pytest.mark.live
def test_two_workers_of_stoa_serve_count_together(tmp_path: Path, real_redis: str) -> None:
    # The library for metrics decides as it is imported whether processes share them.
    gateway = GatewayProcess(tmp_path, {"REDIS_URL": f"{real_redis[:-1]}5"}, workers=2, imports_itself=True)
    with serving(gateway):
        answered, seconds = _flood(gateway, 60)
        assert 10 <= answered <= 10 + seconds + 1
        assert gateway.ready()["limits"] == {
            "ready": True,
            "detail": "counted by all replicas together",
            "findings": [],
        }
        metrics = httpx.get(f"{gateway.url}/metrics", trust_env=False).text
        assert "stoa_limits_shared 1.0" in metrics


def test_workers_that_share_nothing_have_a_share_each(tmp_path: Path) -> None:
    gateway = GatewayProcess(tmp_path, workers=2)
    with serving(gateway):
        answered, seconds = _flood(gateway, 60)
        assert 5 <= answered <= 10 + seconds + 1
