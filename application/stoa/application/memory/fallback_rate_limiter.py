"""Limits that stay in force while the replicas' common store is away: each replica then counts by itself, by its share
of each limit, except where a limit requires refusal instead.

During an outage most calls do not ask the store, because each would wait for its answer: one call in a second tries.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal, TypeVar

from stoa.application.memory.rate_limiter import DividedRateLimiter, InMemoryRateLimiter
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.rate_limiter import RateLimiter
from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict
from stoa.domain.errors import LimiterUnavailable

_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

RETRY_SECONDS = 1.0

LimiterEvent = Literal["lost", "found", "counted here", "refused"]
"""An event of an outage: the store was lost, or found again; a call was counted by this replica alone, or refused."""


class FallbackRateLimiter(RateLimiter, HealthProbe):
    """Divides each limit among `replicas`. `told` is called with every LimiterEvent.

    Its limitation: at both edges of an outage a caller may have its burst a second time, because neither side knows
    what the other counted. Refusals of the store stay in force.
    """

    name = "limits"

    def __init__(
        self,
        shared: RateLimiter,
        clock: Clock,
        replicas: Callable[[], int],
        *,
        told: Callable[[LimiterEvent], None] = lambda _: None,
    ) -> None:
        self._shared = shared
        self._clock = clock
        self._replicas = replicas
        self._report = told
        self._local = DividedRateLimiter(InMemoryRateLimiter(clock), replicas)
        self._away_since: datetime | None = None
        self._ask_at_ns = 0
        self._is_asking = False

    def health(self) -> Health:
        """Always ready: calls go on."""
        if self._away_since is None:
            return Health(is_ready=True, detail="counted by all replicas together")
        replicas = self._replicas()
        share = "the whole of each limit" if replicas == 1 else f"1/{replicas} of each limit"
        finding = (
            f"REDIS_URL: the server cannot be reached since {self._away_since:%Y-%m-%dT%H:%M:%SZ}; this replica counts "
            f"by itself and admits {share}; calls with a limit that says `fail: closed` are refused"
        )
        return Health(is_ready=True, detail="counted by each replica", findings=(finding,))

    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:
        refusal = self._shared.refusal(charges)
        if refusal is not None or self._may_ask() or _is_closed(charges):
            return refusal
        return self._local.refusal(charges)

    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:
        if self._may_ask():
            try:
                return await self._ask(self._shared.take(charges))
            except LimiterUnavailable:
                self._lose()
        self._refuse_closed(charges)
        self._report("counted here")
        return self._shared.refusal(charges) or await self._local.take(charges)

    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        if self._may_ask():
            try:
                return await self._ask(self._shared.peek(charges))
            except LimiterUnavailable:
                self._lose()
        self._refuse_closed(charges)
        return await self._local.peek(charges)

    def _may_ask(self) -> bool:
        return self._away_since is None or (not self._is_asking and self._clock.monotonic_ns() >= self._ask_at_ns)

    async def _ask(self, question: Awaitable[Answer]) -> Answer:
        is_probe = self._away_since is not None
        self._is_asking = self._is_asking or is_probe
        try:
            answer = await question
        finally:
            if is_probe:
                self._is_asking = False
        if self._away_since is not None:
            self._away_since = None
            self._report("found")
            _log.info("rate limits are counted by all replicas together again")
        return answer

    def _lose(self) -> None:
        self._ask_at_ns = self._clock.monotonic_ns() + round(RETRY_SECONDS * 1e9)
        if self._away_since is None:
            self._away_since = self._clock.now()
            self._report("lost")
            _log.warning(self.health().findings[0])

    def _refuse_closed(self, charges: Sequence[LimitCharge]) -> None:
        if _is_closed(charges):
            self._report("refused")
            raise LimiterUnavailable("The rate limits cannot be counted at the moment")


def _is_closed(charges: Sequence[LimitCharge]) -> bool:
    return any(charge.limit.fail == "closed" for charge in charges)
