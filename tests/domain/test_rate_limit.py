"""The rate limit as a state machine: what any sequence of arrivals may obtain from it."""

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import rate_limits, roles

from stoa.domain.rate_limit import DEFAULT_LIMIT, ROLE_LIMITS, RateLimit, caller_limit

MINUTE = 60_000_000_000


def timelines(limit):
    """Gaps between arrivals around the interval of `limit`, where its edges are."""
    edges = st.sampled_from([0, 1, limit.interval_ns - 1, limit.interval_ns, limit.interval_ns + 1])
    return st.lists(edges | st.integers(0, 3 * limit.interval_ns), max_size=60)


limited_timelines = rate_limits.flatmap(lambda limit: st.tuples(st.just(limit), timelines(limit)))


def admitted(limit, gaps, start=10**15):
    state, now, times = 0, start, []
    for gap in gaps:
        now += gap
        state, verdict = limit.step(state, now)
        if verdict.is_allowed:
            times.append(now)
    return times


@given(limited_timelines)
def test_no_window_admits_more_than_burst_and_rate(case):
    limit, gaps = case
    times = admitted(limit, gaps)
    for first, begin in enumerate(times):
        for last in range(first, len(times)):
            window_ns = times[last] - begin
            assert (last - first + 1) * MINUTE <= limit.burst * MINUTE + limit.requests_per_minute * window_ns


@given(limited_timelines)
def test_a_refusal_changes_nothing(case):
    limit, gaps = case
    state, now = 0, 10**15
    for gap in gaps:
        now += gap
        new, verdict = limit.step(state, now)
        if not verdict.is_allowed:
            assert new == state
            assert limit.step(new, now) == (new, verdict)
        state = new


@given(limited_timelines)
def test_remaining_is_exactly_what_is_admitted_right_now(case):
    limit, gaps = case
    state, now = 0, 10**15
    for gap in gaps:
        now += gap
        state, verdict = limit.step(state, now)
        probe = state
        for _ in range(verdict.remaining):
            probe, more = limit.step(probe, now)
            assert more.is_allowed
        assert not limit.step(probe, now)[1].is_allowed
        assert verdict.is_allowed or verdict.remaining == 0


@given(limited_timelines)
def test_retry_after_is_the_first_moment_that_is_admitted(case):
    limit, gaps = case
    state, now = 0, 10**15
    for gap in gaps:
        now += gap
        state, verdict = limit.step(state, now)
        if verdict.is_allowed:
            assert verdict.retry_after_seconds == 0
            continue
        wait = round(verdict.retry_after_seconds * 1e9)
        assert wait > 0
        assert limit.step(state, now + wait)[1].is_allowed
        assert not limit.step(state, now + wait - 1)[1].is_allowed


@given(rate_limits)
def test_a_fresh_key_admits_the_burst_at_once_and_one_more_after_an_interval(limit):
    now = 10**15
    gaps = [0] * (limit.burst + 1) + [limit.interval_ns, 0]
    assert admitted(limit, gaps, now) == [now] * limit.burst + [now + limit.interval_ns]


@given(st.integers(1, 60_000_000))
def test_the_sustained_rate_is_never_exceeded_and_missed_by_less_than_one_interval(rate):
    interval = RateLimit(requests_per_minute=rate).interval_ns
    assert interval * rate >= MINUTE
    assert (interval - 1) * rate < MINUTE


@given(st.frozensets(roles))
def test_a_caller_has_the_most_generous_limit_of_its_roles(held):
    known = [ROLE_LIMITS[role] for role in held if role in ROLE_LIMITS]
    chosen = caller_limit(held)
    assert chosen in (known or [DEFAULT_LIMIT])
    assert all(chosen.requests_per_minute >= limit.requests_per_minute for limit in known)


def test_the_documented_limits_by_role():
    assert {role: (limit.requests_per_minute, limit.burst) for role, limit in ROLE_LIMITS.items()} == {
        "cpi-admin": (1000, 100),
        "tenant-admin": (500, 50),
        "devops": (200, 20),
        "viewer": (60, 10),
    }
    assert (DEFAULT_LIMIT.requests_per_minute, DEFAULT_LIMIT.burst) == (30, 5)
