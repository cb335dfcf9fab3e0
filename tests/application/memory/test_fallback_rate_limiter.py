"""Limits while the store that replicas share is away."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import LimitedCall, limited_calls

from stoa.application.memory.fallback_rate_limiter import RETRY_SECONDS, FallbackRateLimiter
from stoa.application.memory.rate_limiter import InMemoryRateLimiter
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict, RateLimit
from stoa.domain.errors import LimiterUnavailable
from stoa.testing.clock import ManualClock

LIMIT = RateLimit(requests_per_minute=60, burst=6)
CLOSED = RateLimit(requests_per_minute=60, burst=6, fail="closed")


class Store(RateLimiter):
    """What the replicas share; it can go away, and then keeps every caller waiting until `answer` is set."""

    def __init__(self, clock: ManualClock) -> None:
        self.limiter = InMemoryRateLimiter(clock)
        self.is_away = False
        self.answer = asyncio.Event()
        self.answer.set()
        self.asked = 0

    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:
        return self.limiter.refusal(charges)

    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:
        await self._reach()
        return await self.limiter.take(charges)

    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        await self._reach()
        return await self.limiter.peek(charges)

    async def _reach(self) -> None:
        self.asked += 1
        await self.answer.wait()
        if self.is_away:
            raise LimiterUnavailable("away")


class World:
    def __init__(self, replicas: int = 3) -> None:
        self.clock = ManualClock()
        self.store = Store(self.clock)
        self.events: list[str] = []
        self.limiter = FallbackRateLimiter(self.store, self.clock, lambda: replicas, told=self.events.append)

    async def take(self, limit: RateLimit = LIMIT, key: str = "a", cost: int = 1) -> LimitVerdict:
        return await self.limiter.take((LimitCharge("tool", key, limit, cost),))


async def test_what_the_store_knows_to_be_refused_is_refused_without_asking_it() -> None:
    world = World()
    verdict = await world.take(cost=6)
    while verdict.is_allowed:
        verdict = await world.take()
    asked = world.store.asked
    assert world.limiter.refusal((LimitCharge("tool", "a", LIMIT),)) == verdict
    assert world.store.asked == asked


async def test_while_the_store_is_away_a_replica_admits_its_share() -> None:
    world = World(replicas=3)
    world.store.is_away = True
    verdicts = [await world.take() for _ in range(3)]
    assert [verdict.is_allowed for verdict in verdicts] == [True, True, False]
    assert verdicts[-1].charge is not None
    assert verdicts[-1].charge.limit == LIMIT.share(3)
    assert await world.limiter.peek((LimitCharge("tool", "b", LIMIT),)) == (2,)
    known = world.limiter.refusal((LimitCharge("tool", "a", LIMIT),))
    assert known == verdicts[-1]


async def test_a_limit_that_says_closed_refuses_the_call_and_costs_the_others_nothing() -> None:
    world = World(replicas=1)
    world.store.is_away = True
    both = (LimitCharge("caller", "a", LIMIT), LimitCharge("tool", "b", CLOSED))
    for _ in range(10):
        with pytest.raises(LimiterUnavailable):
            await world.limiter.take(both)
        with pytest.raises(LimiterUnavailable):
            await world.limiter.peek(both)
        assert world.limiter.refusal(both) is None
    assert await world.limiter.peek(both[:1]) == (6,)
    assert world.events.count("refused") == 20
    world.store.is_away = False
    world.clock.advance(RETRY_SECONDS)
    assert (await world.limiter.take(both)).is_allowed


async def test_the_store_is_asked_once_a_second_by_one_call() -> None:
    world = World()
    world.store.is_away = True
    for number in range(50):
        await world.take(key=str(number))
    assert world.store.asked == 1
    world.clock.advance(RETRY_SECONDS)
    world.store.answer.clear()
    probe = asyncio.create_task(world.take(key="probe"))
    await asyncio.sleep(0)
    for number in range(50):
        await world.take(key=f"again {number}")
    assert world.store.asked == 2
    world.store.answer.set()
    assert (await probe).is_allowed
    await world.take(key="right after")
    assert world.store.asked == 2
    world.clock.advance(RETRY_SECONDS - 0.001)
    await world.take(key="too early")
    assert world.store.asked == 2


async def test_a_probe_that_is_cancelled_leaves_the_next_to_another() -> None:
    world = World()
    world.store.is_away = True
    await world.take()
    world.clock.advance(RETRY_SECONDS)
    world.store.answer.clear()
    probe = asyncio.create_task(world.take())
    await asyncio.sleep(0)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    world.store.is_away = False
    world.store.answer.set()
    await world.take()
    assert world.store.asked == 3
    assert world.events[-1] == "found"


async def test_what_the_store_refused_stays_refused_while_it_is_away() -> None:
    world = World(replicas=1)
    await world.take(cost=6)
    refused = await world.take()
    world.store.is_away = True
    await world.take(key="b")
    assert await world.take() == refused
    world.clock.advance(refused.retry_after_seconds / 2)
    assert not (await world.take()).is_allowed


async def test_health_and_events_say_how_limits_are_counted() -> None:
    world = World(replicas=3)
    await world.take()
    assert (world.limiter.health().is_ready, world.limiter.health().findings) == (True, ())
    assert world.limiter.health().detail == "counted by all replicas together"
    world.store.is_away = True
    await world.take()
    (finding,) = world.limiter.health().findings
    assert world.limiter.health().is_ready
    assert world.limiter.health().detail == "counted by each replica"
    assert finding == (
        "REDIS_URL: the server cannot be reached since 2026-01-01T00:00:00Z; this replica counts by itself and admits "
        "1/3 of each limit; calls with a limit that says `fail: closed` are refused"
    )
    world.store.is_away = False
    world.clock.advance(RETRY_SECONDS)
    await world.take()
    assert world.limiter.health().findings == ()
    assert world.events == ["lost", "counted here", "found"]


@given(limited_calls(keys=1), st.integers(1, 5), st.data())
@settings(max_examples=60)
async def test_replicas_on_their_own_together_stay_within_the_limit(
    calls: list[LimitedCall], count: int, data: st.DataObject
) -> None:
    clock = ManualClock()
    store = Store(clock)
    store.is_away = True
    replicas = [FallbackRateLimiter(store, clock, lambda: count) for _ in range(count)]
    taken: list[tuple[int, int]] = []
    for call in calls:
        clock.advance(call.gap_us / 1e6)
        limiter = replicas[data.draw(st.integers(0, count - 1))]
        if (await limiter.take(call.charges)).is_allowed:
            taken.append((clock.monotonic_ns() // 1000, call.charges[0].cost))
    for first, (begin, _) in enumerate(taken):
        for last in range(first, len(taken)):
            limit, cost = calls[0].charges[0].limit, sum(cost for _, cost in taken[first : last + 1])
            least = max(limit.burst, count), max(limit.requests_per_minute, count)
            assert cost * 60_000_000 <= least[0] * 60_000_000 + least[1] * (taken[last][0] - begin)
