"""Counting calls against limits."""

from abc import abstractmethod
from typing import Protocol

from stoa.domain.rate_limit import LimitVerdict, RateLimit


class RateLimiter(Protocol):
    """Laws: for each key, in any window of t seconds at most `burst + rate * t` calls are allowed, over all
    replicas that share the store; keys do not influence each other; a refused call uses no allowance. `peek` uses none
    either.

    Raises LimiterUnavailable when it cannot count; the call is then refused.
    """

    @abstractmethod
    async def take(self, key: str, limit: RateLimit) -> LimitVerdict: ...

    @abstractmethod
    async def peek(self, key: str, limit: RateLimit) -> int:
        """How many calls would be admitted right now."""
        ...
