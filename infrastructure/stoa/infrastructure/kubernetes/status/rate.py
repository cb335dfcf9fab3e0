"""The client-side limit of writes: a status storm must not take the API server from others."""

import asyncio

from stoa.application.concurrency.supervisor import Sleep
from stoa.application.ports.clock import Clock

WRITES_PER_SECOND = 50.0
BURST = 100


class WriteRate:
    """A token bucket. One writer waits for it."""

    def __init__(
        self,
        clock: Clock,
        *,
        per_second: float = WRITES_PER_SECOND,
        burst: int = BURST,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._per_second = per_second
        self._burst = burst
        self._sleep = sleep
        self._tokens = float(burst)
        self._at_ns = clock.monotonic_ns()

    async def admit(self) -> None:
        """Wait until the next write may be sent."""
        now = self._clock.monotonic_ns()
        self._tokens = min(self._burst, self._tokens + (now - self._at_ns) / 1e9 * self._per_second) - 1
        self._at_ns = now
        if self._tokens < 0:
            await self._sleep(-self._tokens / self._per_second)
