"""What REST answers say about limits, and the same on MCP."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.interfaces.doors import Answer, World, new_world
from tests.strategies import limited_calls, rate_limits

from stoa.application.memory.rate_limiter import Unlimited
from stoa.domain.access.caller_limits import REQUESTS_PER_CALL
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict, RateLimit, judge
from stoa.interfaces.rest.rate_limit_headers import limit_headers

FIELDS = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy")
VIEW = RateLimit(requests_per_minute=6, burst=3)


def fields(answer: Answer) -> tuple[str | None, ...]:
    return tuple(answer.header(name) for name in FIELDS)


def limited(limit: RateLimit = VIEW, **parts: Any) -> World:
    return new_world(caller_limits={"tenant-admin": limit, "viewer": limit}, **parts)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tools"),
        ("GET", "/tools/tags"),
        ("GET", "/tools/categories"),
        ("GET", "/resources"),
        ("GET", "/resources/templates"),
        ("GET", "/prompts"),
        ("GET", "/resources/read?uri=memo://plain"),
        ("GET", "/resources/read?uri=memo://unknown"),
        ("POST", "/tools/echo/invoke"),
        ("POST", "/tools/unknown/invoke"),
        ("POST", "/tools/wipe/invoke"),
        ("POST", "/prompts/unknown"),
    ],
)
async def test_every_governed_answer_says_what_is_left(method: str, path: str) -> None:
    world = limited()
    if "read" not in path and method == "GET":  # no calls, of which there are more
        world = limited(RateLimit(requests_per_minute=2, burst=1))
        answers = [await world.rest(method, path) for _ in range(6)]
        assert [fields(answer) for answer in answers][:2] == [("5", "4", "6", "5;w=30"), ("5", "3", "12", "5;w=30")]
        assert [answer.status == 429 for answer in answers] == [False] * 5 + [True]
        assert answers[-1].header("retry-after") == "6"
        return
    answers = [await world.rest(method, path) for _ in range(4)]
    assert [fields(answer) for answer in answers] == [
        ("3", "2", "10", "3;w=30"),
        ("3", "1", "20", "3;w=30"),
        ("3", "0", "30", "3;w=30"),
        ("3", "0", "30", "3;w=30"),
    ]
    assert [answer.status == 429 for answer in answers] == [False, False, False, True]
    assert [answer.header("retry-after") for answer in answers] == [None, None, None, "10"]


async def test_of_several_limits_the_one_with_least_left_is_told() -> None:
    world = new_world(caller_limits={"tenant-admin": RateLimit(requests_per_minute=600, burst=100)})
    answer = await world.rest("POST", "/tools/rare/invoke")
    assert (answer.status, fields(answer)) == (200, ("1", "0", "60", "1;w=60"))
    answer = await world.rest("POST", "/tools/rare/invoke")
    assert (answer.status, fields(answer), answer.header("retry-after")) == (429, ("1", "0", "60", "1;w=60"), "60")


async def test_where_nothing_is_counted_nothing_is_said() -> None:
    world = limited(limiter=Unlimited())
    for _ in range(5):
        answer = await world.rest("GET", "/tools")
        assert (answer.status, fields(answer)) == (200, (None,) * 4)
    stranger = await world.rest("POST", "/tools/echo/invoke", token=None)
    assert (stranger.status, fields(stranger)) == (401, (None,) * 4)


@given(st.integers(1, 600), st.integers(1, 3), st.lists(st.integers(0, 15_000), max_size=8))
@settings(max_examples=30)
async def test_who_waits_as_told_is_let_in(rate: int, burst: int, gaps_ms: list[int]) -> None:
    world = limited(RateLimit(requests_per_minute=rate, burst=burst))
    for gap in gaps_ms:
        world.clock.advance(gap / 1000)
        answer = await world.rest("POST", "/tools/add/invoke", {"arguments": {"a": 1, "b": 2}})
        assert int(answer.header("ratelimit-remaining") or "?") < burst
        if answer.status == 429:
            world.clock.advance(int(answer.header("retry-after") or "?"))
            answer = await world.rest("POST", "/tools/add/invoke", {"arguments": {"a": 1, "b": 2}})
        assert answer.status == 200, answer.body
    world.clock.advance(int((await world.rest("GET", "/tools")).header("ratelimit-reset") or "?"))
    left = str(burst * REQUESTS_PER_CALL - 1)
    assert fields(await world.rest("GET", "/tools"))[1] == left, "after Reset the burst is whole"


@given(limited_calls(max_size=10))
def test_the_fields_agree_with_the_verdict(calls: list[Any]) -> None:
    now, states = 10**15, dict[str, int]()
    for call in calls:
        now += call.gap_us
        after, verdict = judge(call.charges, [states.get(each.key, 0) for each in call.charges], now)
        states |= {each.key: state for each, state in zip(call.charges, after, strict=True)}
        said, charge = limit_headers(verdict), verdict.charge
        assert charge is not None
        assert said["RateLimit-Limit"] == str(charge.limit.burst)
        assert said["RateLimit-Remaining"] == str(verdict.remaining)
        assert 0 <= int(said["RateLimit-Reset"]) - verdict.reset_seconds < 1


@given(rate_limits)
def test_the_policy_allows_no_more_than_the_limit(limit: RateLimit) -> None:
    said = limit_headers(LimitVerdict(is_allowed=True, charge=LimitCharge("tool", "k", limit)))["RateLimit-Policy"]
    quota, _, window = said.partition(";w=")
    assert int(quota) == limit.burst
    assert int(quota) * 60 <= limit.requests_per_minute * int(window)


async def test_a_refusal_on_mcp_says_the_same() -> None:
    world = limited()
    call = {"name": "echo", "arguments": {"text": "x"}}
    for _ in range(3):
        await world.modern("tools/call", call)
    refused = (await world.modern("tools/call", call)).json()["error"]
    assert (refused["code"], refused["data"]) == (
        4290,
        {
            "code": "rate_limited",
            "limitName": "caller",
            "retryAfterSeconds": 10.0,
            "limit": {"requestsPerMinute": 6, "burst": 3},
            "remaining": 0,
            "resetSeconds": 30.0,
        },
    )
