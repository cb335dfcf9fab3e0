"""Counts calls against rate limits."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from stoa.domain.access.rate_limit import LimitCharge, LimitVerdict


class RateLimiter(Protocol):
    """Laws: for each key, in any window of t seconds calls of at most `burst + rate * t` in all are allowed, over all
    replicas that share the store; keys do not influence each other. A call is allowed if every charge has room, and a
    refused one uses no allowance. `peek` uses none either. The verdicts are those of
    `stoa.domain.access.rate_limit.judge`.

    `take` and `peek` raise LimiterUnavailable when they cannot count; the call is then refused.
    """

    @abstractmethod
    def refusal(self, charges: Sequence[LimitCharge]) -> LimitVerdict | None:
        """The refusal that `take` would give now, if it is known without asking the store; else None. A refusal of
        `take` is known until its `retry_after_seconds` have passed."""
        ...

    @abstractmethod
    async def take(self, charges: Sequence[LimitCharge]) -> LimitVerdict:
        """Count one call against all its limits, in one step."""
        ...

    @abstractmethod
    async def peek(self, charges: Sequence[LimitCharge]) -> tuple[int, ...]:
        """The calls that the limit of each charge would allow right now."""
        ...
