"""Circuit breaker: a server that is away is not asked by every call, because each would wait for its answer.

After a few failures in a row it is open, and requests that need the server are refused at once. A probe in the
background then asks the server again and again; the first answer closes the breaker. No call ever waits for a probe.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from stoa.application.concurrency.cancellation import cancel_and_wait
from stoa.application.concurrency.supervisor import ReportDefect, Sleep, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.health import Health, HealthProbe

_log = logging.getLogger(__name__)

FAILURES = 2
"""Failures in a row that open the breaker."""
PROBE_SECONDS = 1.0
"""Seconds from the end of one probe to the next."""

Probe = Callable[[], Awaitable[None]]
"""Sends a cheap request to the server. Raises OSError if it does not answer."""


class CircuitBreaker(HealthProbe):
    """One per server, shared by all its clients. `setting`: the setting that names the server, for operators.

    Belongs to one event loop. A client checks `is_open` before it asks the server, and reports `succeeded` or `failed`
    afterwards.
    """

    name = "redis calls"

    def __init__(
        self,
        clock: Clock,
        *,
        setting: str = "REDIS_URL",
        failures: int = FAILURES,
        probe_seconds: float = PROBE_SECONDS,
        sleep: Sleep = asyncio.sleep,
        report: ReportDefect = log_defect,
    ) -> None:
        self._clock = clock
        self._setting = setting
        self._most_failures = failures
        self._probe_seconds = probe_seconds
        self._sleep = sleep
        self._report = report
        self._probes: list[Probe] = []
        self._failures = 0
        self.outages = 0
        """The number of times that it was opened. A connection made before the last of them may be lost without showing
        it."""
        self._reason = ""
        self._open_since: datetime | None = None
        self._probing: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """True while the server must not be asked."""
        return self._open_since is not None

    def add(self, probe: Probe) -> None:
        """Add a further probe; the breaker closes when all of them succeed."""
        self._probes.append(probe)

    def succeeded(self) -> None:
        """Report that the server answered, with any answer."""
        self._failures = 0

    def failed(self, reason: str) -> None:
        """Report that the server could not be reached, or did not answer in time. `reason`: for operators."""
        self._failures += 1
        if self._failures < self._most_failures or self.is_open:
            return
        self._open_since, self._reason = self._clock.now(), reason
        self.outages += 1
        _log.warning(self.health().findings[0])
        self._probing = asyncio.create_task(self._probe_until_it_answers())

    def health(self) -> Health:
        """Always ready: requests that need no server go on."""
        if self._open_since is None:
            return Health(True, "answered")
        finding = (
            f"{self._setting}: the server does not answer since {self._open_since:%Y-%m-%dT%H:%M:%SZ} "
            f"({self._reason}); what needs it is refused at once, or done without it, until it answers"
        )
        return Health(True, "not asked", (finding,))

    async def close(self) -> None:
        """Stop probing; the breaker keeps its state."""
        if self._probing is not None:
            await cancel_and_wait(self._probing)

    async def _probe_until_it_answers(self) -> None:
        while not await self._is_answering():
            await self._sleep(self._probe_seconds)
        self._failures, self._open_since = 0, None
        _log.info("%s: the server answers again", self._setting)

    async def _is_answering(self) -> bool:
        try:
            for probe in self._probes:
                await probe()
        except OSError:
            return False
        except Exception as defect:  # noqa: BLE001  # the probing must not end before the server is back
            self._report(self.name, defect)
            return False
        return True
