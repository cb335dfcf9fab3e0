"""The laws of RateLimiter, for every adapter.

To add a limiter, write a context manager that opens an empty one on a given clock, and put it into ADAPTERS.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import rate_limits

from stoa.application.memory.clock import ManualClock
from stoa.application.memory.rate_limiter import InMemoryRateLimiter
from stoa.application.ports import Clock, RateLimiter
from stoa.domain.rate_limit import RateLimit

OpenLimiter = Callable[[Clock], AbstractAsyncContextManager[RateLimiter]]
MINUTE = 60_000_000_000


@asynccontextmanager
async def _memory(clock: Clock) -> AsyncIterator[RateLimiter]:
    yield InMemoryRateLimiter(clock)


ADAPTERS: dict[str, OpenLimiter] = {"memory": _memory}


@pytest.fixture(scope="session", params=list(ADAPTERS))
def open_limiter(request: pytest.FixtureRequest) -> OpenLimiter:
    return ADAPTERS[request.param]


keys = st.sampled_from(["a", "b", "a:", "\x1f"])
limits_and_gaps = rate_limits.flatmap(
    lambda limit: st.tuples(
        st.just(limit), st.lists(st.tuples(keys, st.integers(0, 2 * limit.interval_ns)), max_size=40)
    )
)


@given(limits_and_gaps)
@settings(max_examples=60, deadline=None)
async def test_no_window_of_a_key_admits_more_than_burst_and_rate(open_limiter, case):
    limit, arrivals = case
    clock = ManualClock()
    admitted: dict[str, list[int]] = {}
    async with open_limiter(clock) as limiter:
        for key, gap in arrivals:
            clock.advance(gap / 1e9)
            if (await limiter.take(key, limit)).is_allowed:
                admitted.setdefault(key, []).append(clock.monotonic_ns())
    for times in admitted.values():
        for first, begin in enumerate(times):
            for last in range(first, len(times)):
                window_ns = times[last] - begin
                assert (last - first + 1) * MINUTE <= limit.burst * MINUTE + limit.requests_per_minute * window_ns


@given(limits_and_gaps)
@settings(max_examples=60, deadline=None)
async def test_every_key_is_judged_as_if_it_were_alone(open_limiter, case):
    limit, arrivals = case
    clock = ManualClock()
    states: dict[str, int] = {}
    async with open_limiter(clock) as limiter:
        for key, gap in arrivals:
            clock.advance(gap / 1e9)
            states[key], expected = limit.step(states.get(key, 0), clock.monotonic_ns())
            assert await limiter.take(key, limit) == expected


@given(rate_limits, st.integers(1, 20))
@settings(max_examples=60, deadline=None)
async def test_refusals_use_no_allowance(open_limiter, limit, attempts):
    clock = ManualClock()
    async with open_limiter(clock) as limiter:
        for _ in range(limit.burst):
            assert (await limiter.take("a", limit)).is_allowed
        refusals = [await limiter.take("a", limit) for _ in range(attempts)]
        assert refusals == [refusals[0]] * attempts
        assert not refusals[0].is_allowed
        clock.advance(refusals[0].retry_after_seconds)
        assert (await limiter.take("a", limit)).is_allowed
        assert not (await limiter.take("a", limit)).is_allowed


@given(limits_and_gaps)
@settings(max_examples=60, deadline=None)
async def test_looking_says_how_many_would_be_admitted_and_uses_none(open_limiter, case):
    limit, arrivals = case
    clock = ManualClock()
    async with open_limiter(clock) as limiter:
        for key, gap in arrivals:
            clock.advance(gap / 1e9)
            left = await limiter.peek(key, limit)
            assert await limiter.peek(key, limit) == left
            verdict = await limiter.take(key, limit)
            assert (verdict.is_allowed, verdict.remaining) == (left > 0, max(0, left - 1))


async def test_a_caller_who_was_away_has_the_whole_burst_and_no_more(open_limiter):
    limit = RateLimit(requests_per_minute=60, burst=3)
    clock = ManualClock()
    async with open_limiter(clock) as limiter:
        for _ in range(2):
            verdicts = [await limiter.take("a", limit) for _ in range(4)]
            assert [verdict.is_allowed for verdict in verdicts] == [True, True, True, False]
            assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0]
            assert verdicts[-1].retry_after_seconds == 1.0
            clock.advance(10_000)


async def test_a_crowd_of_keys_does_not_change_what_one_of_them_may(open_limiter):
    limit = RateLimit(requests_per_minute=1, burst=1)
    clock = ManualClock()
    async with open_limiter(clock) as limiter:
        assert (await limiter.take("mine", limit)).is_allowed
        for number in range(10_500):
            assert (await limiter.take(f"crowd-{number}", RateLimit(requests_per_minute=60_000_000))).is_allowed
            clock.advance(0.000_002)
        assert not (await limiter.take("mine", limit)).is_allowed


async def test_keys_at_rest_are_forgotten():
    clock = ManualClock()
    limiter = InMemoryRateLimiter(clock)
    for number in range(30_000):
        await limiter.take(str(number), RateLimit(requests_per_minute=60_000_000))
        clock.advance(0.000_002)
    assert len(limiter._arrivals) <= 10_001
