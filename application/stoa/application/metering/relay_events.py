"""The relay: forwards metering events from the backlog to the publisher, batch by batch, for as long as the gateway
runs.

One batch is in flight; while the publisher is away the batch is kept and offered again, ever more rarely. The relay
never holds up a call: an event that cannot be forwarded waits where it was recorded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from stoa.application.concurrency.cancellation import is_cancelled
from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.clock import Clock
from stoa.application.ports.event_publisher import EventPublisher
from stoa.application.ports.health import Health, HealthProbe
from stoa.application.ports.metering_backlog import Batch, MeteringBacklog, Rejected, RelayStatus
from stoa.domain.errors import StoaError

_log = logging.getLogger(__name__)

MAX_EVENTS = 500
MAX_BYTES = 1024 * 1024
IDLE_SECONDS = 0.25
"""Seconds between two looks at an empty backlog."""
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
STATUS_SECONDS = 1.0
"""Seconds between two measurements of a busy relay."""


class RelayMetering(HealthProbe):
    """Forwards events; start `run` once per process. One of all that share a backlog relays; each reports the
    status."""

    name = "relay"

    def __init__(
        self,
        *,
        backlog: MeteringBacklog,
        publisher: EventPublisher,
        clock: Clock,
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
        report: ReportDefect = log_defect,
    ) -> None:
        self._report_defect = report
        self._backlog = backlog
        self._publisher = publisher
        self._clock = clock
        self._wait = wait
        self._batch: Batch | None = None
        self._refused: Sequence[Rejected] | None = None
        """Refused events of the batch, once it was published: it must not be published again because its
        acknowledgement failed."""
        self._is_rejected = False
        """True once the refused events of the batch are kept aside."""
        self._pause = 0.0
        """Seconds until the next attempt; grows while forwarding fails, 0 while it succeeds."""
        self._measured_at_ns: int | None = None
        self.status = RelayStatus()

    async def run(self) -> None:
        """Forward events until cancelled."""
        while True:
            try:
                pause = await self.step()
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                pause = LONGEST_PAUSE_SECONDS  # of something within a library
            except Exception as defect:  # noqa: BLE001  # it must not stop the forwarding for good
                self._report_defect("forwarding of events", defect)
                pause = LONGEST_PAUSE_SECONDS
            await self._wait(pause)

    async def step(self) -> float:
        """Forward one batch, or try to; returns the seconds until the next step."""
        try:
            is_idle = not await self._forward()
        except StoaError as failure:
            await self._report(failure)
            return self._pause
        if self._pause:
            self._pause = 0.0
            _log.info("metering events: forwarded again")
        if is_idle:
            await self._measure(now=True)
        return IDLE_SECONDS if is_idle else 0.0

    async def close(self) -> None:
        """Give the turn back; call it after `run` has ended."""
        await self._publisher.close()
        await self._backlog.close()

    def health(self) -> Health:
        """Always ready: calls do not depend on forwarding, and events wait on the disk until that is full, which the
        sink reports."""
        status = self.status
        oldest = f", the oldest for {self.oldest_seconds():.0f} s" if status.oldest is not None else ""
        detail = f"{status.waiting_bytes} bytes wait{oldest}; {status.relayed} events forwarded"
        findings: list[str] = []
        if status.failure:
            findings.append(f"metering events are not forwarded: {status.failure}")
        if status.rejected:
            findings.append(f"{status.rejected} metering events were rejected; poison.jsonl in the outbox says why")
        return Health(True, detail, tuple(findings))

    def oldest_seconds(self) -> float:
        """Age of the oldest waiting event in seconds; 0 if there is none."""
        oldest = self.status.oldest
        return 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest).total_seconds())

    async def _forward(self) -> bool:
        """Forward the next batch; False if there is none."""
        if self._batch is None:
            self._batch = await self._backlog.read(max_events=MAX_EVENTS, max_bytes=MAX_BYTES)
        batch = self._batch
        if batch is None:
            return False
        await self._measure(now=False)  # before a wait that may be long
        if self._refused is None:
            self._refused = await self._publisher.publish(batch.events) if batch.events else ()
        rejected = (*batch.damaged, *self._refused)
        if rejected and not self._is_rejected:
            await self._backlog.reject(rejected)
            self._is_rejected = True
            _log.warning("metering events: %d rejected, the first: %s", len(rejected), rejected[0].reason)
        await self._backlog.acknowledge(batch, relayed=len(batch.events) - len(self._refused))
        self._batch, self._refused, self._is_rejected = None, None, False
        return True

    async def _report(self, failure: StoaError) -> None:
        if not self._pause:
            _log.warning("metering events are not forwarded and wait: %s", failure.message)
        self._pause = min(self._pause * 2 or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        try:
            if self._batch is not None:
                await self._backlog.fail(failure.message)
            await self._measure(now=True)
        except StoaError as unreadable:
            failure = unreadable
        if not self.status.failure:
            self.status = replace(self.status, failure=failure.message, failures=self.status.failures + 1)

    async def _measure(self, *, now: bool) -> None:
        moment = self._clock.monotonic_ns()
        last = self._measured_at_ns
        if now or last is None or moment - last >= STATUS_SECONDS * 1e9:
            self._measured_at_ns = moment
            self.status = await self._backlog.status()
