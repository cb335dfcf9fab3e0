"""Rate limits as a state machine: what any sequence of calls may obtain from it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.strategies import LimitedCall, limited_calls, rate_limits

from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict, RateLimit, judge, judge_one, remaining

MINUTE = 60_000_000
START = 10**15

timelines = limited_calls()
one_key = limited_calls(keys=1)


class Replay:
    """The states of all keys while calls come in."""

    def __init__(self, now: int = START) -> None:
        self.now = now
        self.states: dict[str, int] = {}

    def before(self, charges: tuple[LimitCharge, ...]) -> list[int]:
        return [self.states.get(charge.key, 0) for charge in charges]

    def take(self, charges: tuple[LimitCharge, ...]) -> LimitVerdict:
        after, verdict = judge(charges, self.before(charges), self.now)
        self.states |= {charge.key: state for charge, state in zip(charges, after, strict=True)}
        return verdict


def exceeds(limit: RateLimit, taken: list[tuple[int, int]]) -> bool:
    """Whether a window of these (moment, cost) holds more than `burst + rate * t`."""
    for first, (begin, _) in enumerate(taken):
        cost = 0
        for end, more in taken[first:]:
            cost += more
            if cost * MINUTE > limit.burst * MINUTE + limit.requests_per_minute * (end - begin):
                return True
    return False


@given(timelines)
def test_no_window_of_a_key_admits_more_than_burst_and_rate(calls: list[LimitedCall]) -> None:
    replay, taken = Replay(), {}
    for call in calls:
        replay.now += call.gap_us
        if replay.take(call.charges).is_allowed:
            for charge in call.charges:
                taken.setdefault((charge.key, charge.limit), []).append((replay.now, charge.cost))
    assert not [key for (key, limit), moments in taken.items() if exceeds(limit, moments)]


@given(timelines)
def test_a_call_counts_against_all_its_limits_or_none(calls: list[LimitedCall]) -> None:
    replay = Replay()
    for call in calls:
        replay.now += call.gap_us
        before = replay.before(call.charges)
        alone = [judge([charge], [state], replay.now) for charge, state in zip(call.charges, before, strict=True)]
        after, verdict = judge(call.charges, before, replay.now)
        assert verdict.is_allowed == all(each.is_allowed for _, each in alone)
        assert list(after) == ([states[0] for states, _ in alone] if verdict.is_allowed else before)
        assert judge(call.charges, before, replay.now) == (after, verdict), "judging alone changes nothing"
        replay.take(call.charges)


@given(timelines)
def test_the_verdict_is_that_of_the_claim_that_matters_most(calls: list[LimitedCall]) -> None:
    replay = Replay()
    for call in calls:
        replay.now += call.gap_us
        before = replay.before(call.charges)
        alone = [judge([charge], [state], replay.now)[1] for charge, state in zip(call.charges, before, strict=True)]
        verdict = replay.take(call.charges)
        assert verdict in alone
        if verdict.is_allowed:
            assert verdict.remaining == min(each.remaining for each in alone)
            assert verdict.retry_after_seconds == 0
        else:
            assert verdict.retry_after_seconds == max(each.retry_after_seconds for each in alone) > 0
            assert verdict.remaining == 0


@given(one_key)
def test_remaining_is_exactly_what_is_admitted_right_now(calls: list[LimitedCall]) -> None:
    replay = Replay()
    for call in calls:
        replay.now += call.gap_us
        (charge,) = call.charges
        verdict = replay.take(call.charges)
        left = remaining(charge.limit, replay.states[charge.key], replay.now)
        assert not verdict.is_allowed or verdict.remaining == left
        one = (replace(charge, cost=1),)
        probe = Replay(replay.now)
        probe.states = dict(replay.states)
        assert [probe.take(one).is_allowed for _ in range(left + 1)] == [True] * left + [False]


@given(timelines)
def test_retry_after_is_the_first_moment_that_is_admitted(calls: list[LimitedCall]) -> None:
    replay = Replay()
    for call in calls:
        replay.now += call.gap_us
        verdict = replay.take(call.charges)
        if not verdict.is_allowed and all(charge.cost <= charge.limit.burst for charge in call.charges):
            wait, before = round(verdict.retry_after_seconds * 1e6), replay.before(call.charges)
            assert judge(call.charges, before, replay.now + wait)[1].is_allowed
            assert not judge(call.charges, before, replay.now + wait - 1)[1].is_allowed


@given(one_key)
def test_after_reset_the_whole_burst_is_there_and_not_before(calls: list[LimitedCall]) -> None:
    replay = Replay()
    for call in calls:
        replay.now += call.gap_us
        limit = call.charges[0].limit
        reset = round(replay.take(call.charges).reset_seconds * 1e6)
        state = replay.states[call.charges[0].key]
        assert remaining(limit, state, replay.now + reset) == limit.burst
        assert reset == 0 or remaining(limit, state, replay.now + reset - 1) < limit.burst


@given(rate_limits, st.integers(-(10**9), 10**9), st.integers(1, 5))
def test_one_limit_is_judged_as_several_are(limit: RateLimit, ahead: int, cost: int) -> None:
    charge, arrival = LimitCharge("tool", "k", limit, cost), START + ahead
    states, verdict = judge([charge], [arrival], START)
    assert judge_one(charge, arrival, START) == (states[0], verdict)


@given(rate_limits, st.integers(1, 5))
def test_what_costs_more_than_the_burst_is_never_admitted(limit: RateLimit, more: int) -> None:
    charge = LimitCharge("tool", "k", limit, cost=limit.burst + more)
    assert not judge([charge], [0], START)[1].is_allowed
    assert judge([replace(charge, cost=limit.burst)], [0], START)[1].is_allowed


@given(rate_limits)
def test_a_fresh_key_admits_the_burst_at_once_and_one_more_after_an_interval(limit: RateLimit) -> None:
    replay, charges = Replay(), (LimitCharge("caller", "k", limit),)
    assert [replay.take(charges).is_allowed for _ in range(limit.burst + 1)] == [True] * limit.burst + [False]
    replay.now += limit.interval_us
    assert [replay.take(charges).is_allowed for _ in range(2)] == [True, False]


def test_no_claim_is_no_limit() -> None:
    assert judge([], [], START) == ([], LimitVerdict(True, None))


@given(st.integers(1, MINUTE))
def test_the_sustained_rate_is_never_exceeded_and_missed_by_less_than_one_interval(rate: int) -> None:
    interval = RateLimit(requests_per_minute=rate).interval_us
    assert interval * rate >= MINUTE
    assert (interval - 1) * rate < MINUTE


def test_a_share_fails_as_the_whole_limit_does() -> None:
    assert RateLimit(requests_per_minute=10, burst=5, fail="closed").share(2) == RateLimit(
        requests_per_minute=5, burst=2, fail="closed"
    )


@given(rate_limits, st.integers(1, 200))
def test_the_shares_of_all_replicas_are_no_more_than_the_limit(limit: RateLimit, replicas: int) -> None:
    share = limit.share(replicas)
    for whole, part in ((limit.requests_per_minute, share.requests_per_minute), (limit.burst, share.burst)):
        assert replicas * part <= whole if whole >= replicas else part == 1
        assert (part + 1) * replicas > whole, "nothing more is lost than by rounding"
    assert limit.share(1) == limit


@given(timelines)
def test_every_state_is_exact_as_a_double(calls: list[LimitedCall]) -> None:
    """Redis's Lua knows no other numbers. The latest moment: two centuries after 1970."""
    replay = Replay(200 * 366 * 86_400 * 10**6)
    for call in calls:
        replay.now += call.gap_us
        replay.take(call.charges)
        for charge in call.charges:
            assert replay.states.get(charge.key, 0) + charge.limit.capacity_us < 2**53


@given(rate_limits, st.integers(0, 10**9), st.integers(-(10**9), 10**9))
def test_admissible_is_what_is_left_and_never_less_than_nothing(limit: RateLimit, ahead: int, gap: int) -> None:
    now = START
    left = remaining(limit, now + gap, now)
    replay = Replay(now)
    replay.states = {"k": now + gap}
    admitted = [replay.take((LimitCharge("tool", "k", limit),)).is_allowed for _ in range(limit.burst + 1)]
    assert admitted == [True] * left + [False] * (limit.burst + 1 - left)


def test_the_first_of_two_equally_scarce_limits_is_named_and_of_two_refusing_ones_the_slower() -> None:
    slow, fast = RateLimit(requests_per_minute=1, burst=2), RateLimit(requests_per_minute=60, burst=2)
    one, other = LimitCharge("caller", "a", slow), LimitCharge("tenant", "b", fast)
    states, verdict = judge([one, other], [0, 0], START)
    assert (verdict.charge, verdict.remaining, verdict.reset_seconds) == (one, 1, 60.0)
    assert (verdict.retry_after_seconds, list(states)) == (0.0, [START + 60_000_000, START + 1_000_000])
    full = [START + 120_000_000, START + 2_000_000]
    for charges, arrivals in (([one, other], full), ([other, one], full[::-1])):
        after, refused = judge(charges, arrivals, START)
        assert (refused.is_allowed, refused.charge, refused.remaining) == (False, one, 0)
        assert (refused.reset_seconds, refused.retry_after_seconds) == (120.0, 60.0)
        assert after == arrivals


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("requests_per_minute", [1, 60_000_000], [0, -1, 60_000_001]),
        ("burst", [1, 1_000_000], [0, -1, 1_000_001]),
        ("fail", ["share", "closed"], ["open"]),
    ],
)
def test_the_bounds_of_a_limit(field: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(RateLimit(**{"requests_per_minute": 1, field: value}), field) == value
    for value in bad:
        with pytest.raises(ValidationError, match=field):
            RateLimit(**{"requests_per_minute": 1, field: value})
