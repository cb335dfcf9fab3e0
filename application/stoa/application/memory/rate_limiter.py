"""Rate limits counted in this process: the default for one worker, and the reference for shared stores."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from stoa.application.ports.clock import Clock
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict, RateLimit, WhenAway, judge, judge_one, remaining

_SWEEP_ABOVE = 10_000


class InMemoryRateLimiter(RateLimiter):
    """Keeps one integer per key; keys whose bucket is full again are forgotten, so memory follows activity."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: dict[str, int] = {}
        self._sweep_at = _SWEEP_ABOVE

    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:
        now = self._clock.monotonic_ns() // 1000
        for charge in charges:  # every call comes here, and hardly one has a limit that is used up
            limit = charge.limit
            start = max(self._arrivals.get(charge.key, now), now)
            if start + charge.cost * limit.interval_us > now + limit.capacity_us:
                return judge(charges, self._states(charges), now)[1]
        return None

    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:
        now = self._clock.monotonic_ns() // 1000
        arrivals = self._arrivals
        if len(charges) == 1:
            charge = charges[0]
            state, verdict = judge_one(charge, arrivals.get(charge.key, 0), now)
            if verdict.is_allowed:
                arrivals[charge.key] = state
                if len(arrivals) > self._sweep_at:
                    self._sweep(now)
            return verdict
        states, verdict = judge(charges, self._states(charges), now)
        if verdict.is_allowed:
            for charge, state in zip(charges, states, strict=True):
                arrivals[charge.key] = state
            if len(arrivals) > self._sweep_at:
                self._sweep(now)
        return verdict

    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        now = self._clock.monotonic_ns() // 1000
        pairs = zip(charges, self._states(charges), strict=True)
        return tuple(remaining(charge.limit, state, now) for charge, state in pairs)

    def _states(self, charges: Sequence[LimitCharge]) -> list[int]:
        find = self._arrivals.get
        return [find(charge.key, 0) for charge in charges]

    def _sweep(self, now: int) -> None:
        self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}
        self._sweep_at = max(_SWEEP_ABOVE, 2 * len(self._arrivals))


class DividedRateLimiter(RateLimiter):
    """Counts by this process's share of each limit: `replicas` processes that know nothing of each other together admit
    no more than the limit. A caller that reaches only one of them gets that share."""

    def __init__(self, limiter: RateLimiter, replicas: Callable[[], int]) -> None:
        self._limiter = limiter
        self._replicas = replicas

    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:
        return self._limiter.refusal(self._divided(charges))

    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:
        return await self._limiter.take(self._divided(charges))

    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        return await self._limiter.peek(self._divided(charges))

    def _divided(self, charges: Sequence[LimitCharge]) -> Sequence[LimitCharge]:
        count = self._replicas()
        if count == 1:
            return charges
        return [LimitCharge(charge.name, charge.key, _share_of(charge.limit, count), charge.cost) for charge in charges]


def _share_of(limit: RateLimit, replicas: int) -> RateLimit:
    return _share(limit.requests_per_minute, limit.burst, limit.fail, replicas)


@lru_cache(maxsize=1024)
def _share(requests_per_minute: int, burst: int, fail: WhenAway, replicas: int) -> RateLimit:
    return RateLimit(requests_per_minute=requests_per_minute, burst=burst, fail=fail).share(replicas)


class Unlimited(RateLimiter):
    """Allows everything: RATE_LIMIT_ENABLED=false, and embedding programs with limits of their own."""

    _ALLOWED = LimitVerdict(is_allowed=True, charge=None)

    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:  # noqa: ARG002
        return None

    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:  # noqa: ARG002
        return self._ALLOWED

    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        return tuple(charge.limit.burst for charge in charges)
