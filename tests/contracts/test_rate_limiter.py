"""The laws of RateLimiter, for every adapter.

To add a limiter, write a context manager that opens an empty one on a given clock, as two replicas see it, and put it
into ADAPTERS.
"""

import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contracts.adapters import parameters
from tests.live.servers import free_port
from tests.services import connections
from tests.strategies import LimitedCall, limited_calls, rate_limits, unicode_text

from stoa.application.memory.clock import SystemClock
from stoa.application.memory.fallback_rate_limiter import FallbackRateLimiter
from stoa.application.memory.rate_limiter import DividedRateLimiter, InMemoryRateLimiter, Unlimited
from stoa.application.ports import Clock, RateLimiter
from stoa.domain.access.rate_limit import LimitCharge, RateLimit, judge, remaining
from stoa.domain.errors import LimiterUnavailable
from stoa.infrastructure.redis import RedisRateLimiter
from stoa.testing.clock import ManualClock

Pair = tuple[RateLimiter, RateLimiter]
OpenLimiters = Callable[[Clock], AbstractAsyncContextManager[Pair]]


def _memory(_: pytest.FixtureRequest) -> OpenLimiters:
    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncGenerator[Pair]:
        limiter = InMemoryRateLimiter(clock)
        yield limiter, limiter

    return opened


def _divided(_: pytest.FixtureRequest) -> OpenLimiters:
    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncGenerator[Pair]:
        limiter = DividedRateLimiter(InMemoryRateLimiter(clock), lambda: 1)
        yield limiter, limiter

    return opened


def _with_fallback(_: pytest.FixtureRequest) -> OpenLimiters:
    @asynccontextmanager
    async def opened(clock: Clock) -> AsyncGenerator[Pair]:
        store = InMemoryRateLimiter(clock)
        yield FallbackRateLimiter(store, clock, lambda: 2), FallbackRateLimiter(store, clock, lambda: 2)

    return opened


def _in_redis(server: str) -> Callable[[pytest.FixtureRequest], OpenLimiters]:
    def of(request: pytest.FixtureRequest) -> OpenLimiters:
        url: str = request.getfixturevalue(server)

        @asynccontextmanager
        async def opened(clock: Clock) -> AsyncGenerator[Pair]:
            async with connections(url, url) as (one, two):
                yield RedisRateLimiter(one, clock, decides=True), RedisRateLimiter(two, clock, decides=True)

        return opened

    return of


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], OpenLimiters]] = {
    "memory": _memory,
    "divided": _divided,
    "with_fallback": _with_fallback,
    "in_process_redis": _in_redis("in_process_redis"),
    "real_redis": _in_redis("real_redis"),
}


@pytest.fixture(scope="session", params=parameters(ADAPTERS))
def open_limiters(request: pytest.FixtureRequest) -> OpenLimiters:
    return ADAPTERS[request.param](request)


few = settings(max_examples=40)


def charge(limit: RateLimit, key: str = "a", cost: int = 1) -> tuple[LimitCharge, ...]:
    return (LimitCharge("tool", key, limit, cost),)


@given(limited_calls())
@few
async def test_every_verdict_is_that_of_the_state_machine(
    open_limiters: OpenLimiters, calls: list[LimitedCall]
) -> None:
    """Whichever replica is asked; and what `refusal` knows is what `take` then says."""
    clock, states = ManualClock(), dict[str, int]()
    async with open_limiters(clock) as both:
        for call, limiter in zip(calls, itertools.cycle(both), strict=False):
            clock.advance(call.gap_us / 1e6)
            now, before = clock.monotonic_ns() // 1000, [states.get(charge.key, 0) for charge in call.charges]
            after, expected = judge(call.charges, before, now)
            states |= {charge.key: state for charge, state in zip(call.charges, after, strict=True)}
            known = limiter.refusal(call.charges)
            left = tuple(
                remaining(charge.limit, state, now) for charge, state in zip(call.charges, before, strict=True)
            )
            assert await limiter.peek(call.charges) == left
            assert await limiter.take(call.charges) == expected
            assert known is None or not expected.is_allowed
            assert expected.is_allowed or limiter.refusal(call.charges) == expected


@given(rate_limits, st.integers(1, 20))
@few
async def test_a_refusal_uses_no_allowance_and_is_known_until_it_is_over(
    open_limiters: OpenLimiters, limit: RateLimit, attempts: int
) -> None:
    clock = ManualClock()
    async with open_limiters(clock) as (here, there):
        assert (await there.take(charge(limit, cost=limit.burst))).is_allowed
        refusals = [await here.take(charge(limit)) for _ in range(attempts)]
        assert refusals == [refusals[0]] * attempts
        assert not refusals[0].is_allowed
        wait = refusals[0].retry_after_seconds
        clock.advance(wait - 1e-6)
        known = here.refusal(charge(limit))
        assert known is not None
        assert round(known.retry_after_seconds * 1e6) == 1
        assert known == await here.take(charge(limit))
        clock.advance(1e-6)
        assert here.refusal(charge(limit)) is None
        assert (await here.take(charge(limit))).is_allowed
        assert not (await there.take(charge(limit))).is_allowed


async def test_a_caller_who_was_away_has_the_whole_burst_and_no_more(open_limiters: OpenLimiters) -> None:
    limit = RateLimit(requests_per_minute=60, burst=3)
    clock = ManualClock()
    async with open_limiters(clock) as (here, there):
        for _ in range(2):
            verdicts = [await limiter.take(charge(limit)) for limiter in (here, there, here, there)]
            assert [verdict.is_allowed for verdict in verdicts] == [True, True, True, False]
            assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0]
            assert verdicts[-1].retry_after_seconds == 1.0
            clock.advance(10_000)


async def test_limit_without_charges_refuses_nothing(open_limiters: OpenLimiters) -> None:
    async with open_limiters(ManualClock()) as (here, _):
        assert here.refusal(()) is None
        assert (await here.take(())).is_allowed
        assert await here.peek(()) == ()


@given(st.lists(unicode_text | st.sampled_from(["k" * 200, "k" * 201, "é" * 101, "\ud800"]), unique=True, max_size=6))
@few
async def test_keys_do_not_influence_each_other_whatever_is_in_them(
    open_limiters: OpenLimiters, keys: list[str]
) -> None:
    """Also not by the form in which a store keeps long ones."""
    limit = RateLimit(requests_per_minute=1)
    async with open_limiters(ManualClock()) as (here, there):
        for key in keys:
            assert (await here.take(charge(limit, key))).is_allowed
        for key in keys:
            assert not (await there.take(charge(limit, key))).is_allowed


async def test_a_crowd_of_keys_does_not_change_what_one_of_them_may() -> None:
    limit, clock = RateLimit(requests_per_minute=1), ManualClock()
    limiter = InMemoryRateLimiter(clock)
    assert (await limiter.take(charge(limit, "mine"))).is_allowed
    for number in range(10_500):
        crowd = charge(RateLimit(requests_per_minute=60_000_000), f"crowd-{number}")
        assert (await limiter.take(crowd)).is_allowed
        clock.advance(0.000_002)
    assert not (await limiter.take(charge(limit, "mine"))).is_allowed


async def test_keys_at_rest_are_forgotten() -> None:
    clock = ManualClock()
    limiter = InMemoryRateLimiter(clock)
    for number in range(30_000):
        await limiter.take(charge(RateLimit(requests_per_minute=60_000_000), str(number)))
        clock.advance(0.000_002)
    assert len(limiter._arrivals) <= 10_001


@given(limited_calls(max_size=10), st.integers(2, 5))
@few
async def test_a_divided_limiter_counts_by_its_share(calls: list[LimitedCall], parts: int) -> None:
    clock = ManualClock()
    divided, whole = DividedRateLimiter(InMemoryRateLimiter(clock), lambda: parts), InMemoryRateLimiter(clock)
    for call in calls:
        clock.advance(call.gap_us / 1e6)
        shares = [LimitCharge(each.name, each.key, each.limit.share(parts), each.cost) for each in call.charges]
        assert await divided.peek(call.charges) == await whole.peek(shares)
        assert divided.refusal(call.charges) == whole.refusal(shares)
        assert await divided.take(call.charges) == await whole.take(shares)


async def test_without_limits_everything_is_allowed() -> None:
    limiter, limit = Unlimited(), RateLimit(requests_per_minute=1, burst=2)
    for _ in range(5):
        assert limiter.refusal(charge(limit)) is None
        verdict = await limiter.take(charge(limit))
        assert (verdict.is_allowed, verdict.charge) == (True, None)
        assert await limiter.peek(charge(limit)) == (2,)


@pytest.fixture(params=["in_process_redis", pytest.param("real_redis", marks=pytest.mark.live)])
def redis_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


async def test_the_servers_clock_counts_where_no_other_decides(redis_url: str) -> None:
    """Two replicas whose own clocks are an hour apart agree."""
    limit = RateLimit(requests_per_minute=1, burst=3)
    late = ManualClock()
    late.advance(3600)
    async with connections(redis_url, redis_url) as (one, two):
        here, there = RedisRateLimiter(one, ManualClock()), RedisRateLimiter(two, late)
        verdicts = [await limiter.take(charge(limit)) for limiter in (here, there, here, there)]
        assert [verdict.is_allowed for verdict in verdicts] == [True, True, True, False]
        assert 0 < verdicts[-1].retry_after_seconds <= 60
        assert await here.peek(charge(limit)) == (0,)
        known = there.refusal(charge(limit))
        assert known is not None
        assert known.retry_after_seconds == pytest.approx(verdicts[-1].retry_after_seconds)


async def test_a_key_is_kept_until_its_limit_is_whole_again_and_no_longer(redis_url: str) -> None:
    limit = RateLimit(requests_per_minute=60, burst=3)
    async with connections(redis_url) as (redis,):
        limiter = RedisRateLimiter(redis, SystemClock())
        await limiter.take((*charge(limit, "one"), *charge(limit, "two", cost=3)))
        left = [await redis.client.pttl(f"{redis.prefix}limit:{key}") for key in ("one", "two")]
        assert left == [pytest.approx(1001, abs=900), pytest.approx(3001, abs=900)]


async def test_a_call_is_one_round_trip_and_a_known_refusal_is_none(redis_url: str) -> None:
    limit = RateLimit(requests_per_minute=1, burst=2)
    charges = tuple(LimitCharge("tool", key, limit) for key in "abcd")
    async with connections(redis_url) as (redis,):
        limiter = RedisRateLimiter(redis, SystemClock())
        await limiter.take(charges)  # loads the script
        sent, run = [], redis.client.execute_command

        async def counted(*arguments: object, **options: object) -> object:
            sent.append(arguments)
            return await run(*arguments, **options)

        redis.client.execute_command = counted
        await limiter.take(charges)
        assert len(sent) == 1
        await limiter.peek(charges)
        assert len(sent) <= 4  # with the loading of the other script
        sent.clear()
        for _ in range(1000):
            assert limiter.refusal(charges) is not None
        assert not sent


async def test_a_redis_that_is_away_is_said_so_and_gives_nothing_away() -> None:
    async with connections(f"redis://user:pass-word@127.0.0.1:{free_port()}/0") as (redis,):
        limiter = RedisRateLimiter(redis, SystemClock())
        for attempt in (
            limiter.take(charge(RateLimit(requests_per_minute=1))),
            limiter.peek(charge(RateLimit(requests_per_minute=1))),
        ):
            with pytest.raises(LimiterUnavailable) as refused:
                await attempt
            assert refused.value.message == "The rate limits cannot be counted at the moment"


async def test_what_is_known_of_many_keys_is_bounded(in_process_redis: str) -> None:
    limit = RateLimit(requests_per_minute=1)
    async with connections(in_process_redis) as (redis,):
        limiter = RedisRateLimiter(redis, SystemClock())
        for start in range(0, 12_000, 500):
            await limiter.take([LimitCharge("tool", str(number), limit) for number in range(start, start + 500)])
        assert len(limiter._arrivals) <= 10_000
        assert not (await limiter.take(charge(limit, "0"))).is_allowed, "what is forgotten here, the server knows"
