"""Rate limits counted in this process: the default for one worker, and the reference for shared stores."""

from stoa.application.ports.clock import Clock
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.rate_limit import LimitVerdict, RateLimit

_SWEEP_ABOVE = 10_000


class InMemoryRateLimiter(RateLimiter):
    """Keeps one integer per key; keys whose bucket is full again are forgotten, so memory follows activity."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._arrivals: dict[str, int] = {}
        self._sweep_at = _SWEEP_ABOVE

    async def take(self, key: str, limit: RateLimit) -> LimitVerdict:
        now = self._clock.monotonic_ns()
        state, verdict = limit.step(self._arrivals.get(key, 0), now)
        self._arrivals[key] = state
        if len(self._arrivals) > self._sweep_at:
            self._sweep(now)
        return verdict

    async def peek(self, key: str, limit: RateLimit) -> int:
        _, verdict = limit.step(self._arrivals.get(key, 0), self._clock.monotonic_ns())
        return verdict.remaining + 1 if verdict.is_allowed else 0

    def _sweep(self, now: int) -> None:
        self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}
        self._sweep_at = max(_SWEEP_ABOVE, 2 * len(self._arrivals))


class Unlimited(RateLimiter):
    """Allows everything: RATE_LIMIT_ENABLED=false, and embedding programs with limits of their own."""

    _ALLOWED = LimitVerdict(is_allowed=True, remaining=1_000_000, retry_after_seconds=0.0)

    async def take(self, key: str, limit: RateLimit) -> LimitVerdict:  # noqa: ARG002
        return self._ALLOWED

    async def peek(self, key: str, limit: RateLimit) -> int:  # noqa: ARG002
        return self._ALLOWED.remaining
