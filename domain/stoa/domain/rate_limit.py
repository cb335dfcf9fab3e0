"""Rate limits as a pure state machine: a token bucket in its GCRA form, with the clock passed in.

The whole state is one integer (the theoretical arrival time of the next conforming call, in nanoseconds),
so every store can keep it: a dict, or one Redis key changed by one script. Integer arithmetic makes the law exact:
in any window of t seconds at most `burst + rate * t` calls are admitted.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_MINUTE_NS = 60_000_000_000

RequestsPerMinute = Annotated[int, Field(gt=0, le=60_000_000)]
Burst = Annotated[int, Field(gt=0, le=1_000_000)]


@dataclass(frozen=True, slots=True)
class LimitVerdict:
    """What a limiter says about one call."""

    is_allowed: bool
    remaining: int
    """Calls that would be admitted right now after this one."""
    retry_after_seconds: float
    """0 when allowed; otherwise when the next call can be admitted."""


class RateLimit(BaseModel):
    """`requests_per_minute` sustained, `burst` at once."""

    model_config = ConfigDict(frozen=True)

    requests_per_minute: RequestsPerMinute
    burst: Burst = 1

    @property
    def interval_ns(self) -> int:
        """Nanoseconds between two sustained calls, rounded up so that the rate is never exceeded."""
        return -(-_MINUTE_NS // self.requests_per_minute)

    def step(self, arrival_ns: int, now_ns: int) -> tuple[int, LimitVerdict]:
        """Judge one call at `now_ns` given the stored state; returns (new state, verdict).

        A fresh key has state 0. A refused call leaves the state unchanged, so refusals cost no allowance.
        `now_ns` comes from a clock that never goes back.
        """
        interval = self.interval_ns
        tolerance = (self.burst - 1) * interval
        start = max(arrival_ns, now_ns)
        early_by = start - now_ns
        if early_by > tolerance:
            return arrival_ns, LimitVerdict(False, 0, (early_by - tolerance) / 1e9)
        return start + interval, LimitVerdict(True, (tolerance - early_by) // interval, 0.0)


ROLE_LIMITS: dict[str, RateLimit] = {
    "cpi-admin": RateLimit(requests_per_minute=1000, burst=100),
    "tenant-admin": RateLimit(requests_per_minute=500, burst=50),
    "devops": RateLimit(requests_per_minute=200, burst=20),
    "viewer": RateLimit(requests_per_minute=60, burst=10),
}
"""Caller limits by role, most generous first."""

DEFAULT_LIMIT = RateLimit(requests_per_minute=30, burst=5)
"""For a caller with no known role."""


def caller_limit(roles: frozenset[str], limits: dict[str, RateLimit] = ROLE_LIMITS) -> RateLimit:
    """The most generous limit among the caller's roles, else `DEFAULT_LIMIT`."""
    held = [limit for role, limit in limits.items() if role in roles]
    return max(held, key=lambda limit: limit.requests_per_minute, default=DEFAULT_LIMIT)
