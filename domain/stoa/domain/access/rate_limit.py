"""Rate limits as a pure state machine: a token bucket in its GCRA form, with the clock passed in.

The whole state of a limit is one integer (the theoretical arrival time of the next conforming call, in microseconds),
so every store can keep it: a dict, or one Redis key changed by one script. Integer arithmetic makes the law exact:
in any window of t seconds at most `burst + rate * t` calls are allowed.

A call is usually counted against several limits at once. It is allowed when each has room; otherwise none is touched,
so a call that did not happen costs no allowance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_MINUTE_US = 60_000_000
_MOST_A_MINUTE = 60_000_000
_MOST_AT_ONCE = 1_000_000

RequestsPerMinute = Annotated[int, Field(gt=0, le=_MOST_A_MINUTE)]
Burst = Annotated[int, Field(gt=0, le=_MOST_AT_ONCE)]
LimitName = Literal["caller", "tenant", "requests", "consumer", "tool", "policy", "questions to the client"]
"""The owner of a limit, as refusals name it."""
WhenAway = Literal["share", "closed"]


class RateLimit(BaseModel):
    """A sustained rate, `requests_per_minute`, and a `burst` that may arrive at once."""

    model_config = ConfigDict(frozen=True)

    requests_per_minute: RequestsPerMinute
    burst: Burst = 1
    fail: WhenAway = "share"
    """Behaviour while the replicas' common store is away: each replica allows its share of the limit, or refuses."""

    @cached_property
    def interval_us(self) -> int:
        """Microseconds between two sustained calls, rounded up so that the rate is never exceeded."""
        return -(-_MINUTE_US // self.requests_per_minute)

    @cached_property
    def capacity_us(self) -> int:
        """Upper bound on how far the state may run ahead of the clock, in microseconds."""
        return self.burst * self.interval_us

    def times(self, factor: int) -> "RateLimit":
        """This limit multiplied by `factor`, up to the largest that a limit can be."""
        return RateLimit(
            requests_per_minute=min(self.requests_per_minute * factor, _MOST_A_MINUTE),
            burst=min(self.burst * factor, _MOST_AT_ONCE),
            fail=self.fail,
        )

    def share(self, replicas: int) -> "RateLimit":
        """The part that one of `replicas` replicas may allow by itself. Rounded down, but never to zero: with more
        replicas than calls, each still allows one."""
        return RateLimit(
            requests_per_minute=max(1, self.requests_per_minute // replicas),
            burst=max(1, self.burst // replicas),
            fail=self.fail,
        )


@dataclass(frozen=True, slots=True)
class LimitCharge:
    """`cost` calls to be counted under `key`, which names a limit of one caller, tenant, consumer or tool. What costs
    more than the burst is never allowed."""

    name: LimitName
    key: str
    limit: RateLimit
    cost: int = 1


@dataclass(slots=True)
class LimitVerdict:
    """The verdict of a limiter on one call: of the charge that refuses it for the longest time, else of the one with
    the least left. Not frozen, because one is made for every call and freezing costs time."""

    is_allowed: bool
    charge: LimitCharge | None
    """None: nothing was counted."""
    remaining: int = 0
    """Calls that the charge's limit would allow right now after this one."""
    reset_seconds: float = 0.0
    """Seconds until the charge's limit has its whole burst again, if nothing else comes."""
    retry_after_seconds: float = 0.0
    """Seconds until every limit can have room; 0 when the call is allowed."""


def judge_one(charge: LimitCharge, arrival_us: int, now_us: int) -> tuple[int, LimitVerdict]:
    """Judge one call that is counted against one limit, as most are: what `judge` does for many."""
    limit = charge.limit
    interval_us = limit.interval_us
    start = arrival_us if arrival_us > now_us else now_us  # noqa: FURB136  # every call comes here; max costs a call
    end = start + charge.cost * interval_us
    room_us = now_us + limit.capacity_us - end
    if room_us < 0:
        return arrival_us, LimitVerdict(False, charge, 0, (start - now_us) / 1e6, -room_us / 1e6)
    return end, LimitVerdict(True, charge, room_us // interval_us, (end - now_us) / 1e6)


def judge(
    charges: Sequence[LimitCharge], arrivals_us: Sequence[int], now_us: int
) -> tuple[Sequence[int], LimitVerdict]:
    """Judge one call at `now_us` given the stored state of each charge; returns (new states, verdict).

    A fresh key has state 0. A refused call leaves all states unchanged. `now_us` must come from a clock that never goes
    back, and each key must occur once.
    """
    states: list[int] = []
    scarcest: LimitCharge | None = None
    refusing: LimitCharge | None = None
    least = wait_us = reset_us = 0
    for charge, arrival in zip(charges, arrivals_us, strict=True):
        limit = charge.limit
        start = arrival if arrival > now_us else now_us  # noqa: FURB136  # every call comes here; max costs a call
        end = start + charge.cost * limit.interval_us
        room_us = now_us + limit.capacity_us - end
        states.append(end)
        if room_us < 0:
            if -room_us > wait_us:
                refusing, wait_us, reset_us = charge, -room_us, start - now_us
        elif refusing is None:
            left = room_us // limit.interval_us
            if scarcest is None or left < least:
                scarcest, least, reset_us = charge, left, end - now_us
    if refusing is not None:
        return arrivals_us, LimitVerdict(False, refusing, 0, reset_us / 1e6, wait_us / 1e6)
    return states, LimitVerdict(True, scarcest, least, reset_us / 1e6)


def remaining(limit: RateLimit, arrival_us: int, now_us: int) -> int:
    """Calls that the limit would allow right now."""
    return max(0, (now_us + limit.capacity_us - max(arrival_us, now_us)) // limit.interval_us)
