"""RefusalTally: counts refused calls that get no metering event of their own, and records them in summaries.

Above it is the Recorder, below it a MeteringSink. A call is counted here when its caller was never authenticated, when
its tenant has had many refusals in a short time, or when the refusals' room is used up: so callers cannot decide by
refused calls how much is written, and the sum of `calls` over all events is still the number of finished calls
(docs/decisions/0024-refusals-that-are-counted.md).
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from stoa.application.concurrency.supervisor import log_defect
from stoa.application.ports.clock import Clock, IdFactory
from stoa.application.ports.metering import MeteringSink
from stoa.domain.access.rate_limit import RateLimit
from stoa.domain.errors import MeteringUnavailable
from stoa.domain.metering.event import NO_USER, OTHER_NAMES, MeteringEvent, Status
from stoa.domain.policy.decision import Door

INTERVAL_SECONDS = 60.0
"""Seconds between two summaries of the same refusals; a process that is killed loses the counts of that time."""
SINGLY = RateLimit(requests_per_minute=60, burst=1000)
"""Rate limit of the refusals of one tenant that get an event each."""
_MOST_TOOLS = 16
"""Upper bound on the tools of one tenant that are counted separately in one interval."""
_SWEEP_ABOVE = 10_000

_log = logging.getLogger(__name__)


class RefusalKind(NamedTuple):
    """The facts that the refusals in one summary share."""

    tenant: str
    door: Door
    status: Status
    code: str
    tool: str


@dataclass(slots=True)
class _Count:
    calls: int
    since: datetime
    name: str
    """The operation that the first of them named, as it was sent."""


Told = Callable[[MeteringEvent, str], None]


class RefusalTally:
    """Counts refusals and records summaries. `told` is called with each recorded summary, and with the name that the
    first of its calls sent."""

    def __init__(self, sink: MeteringSink, clock: Clock, ids: IdFactory, told: Told) -> None:
        self._sink = sink
        self._clock = clock
        self._ids = ids
        self._report = told
        self._counts: dict[RefusalKind, _Count] = {}
        self._tools: dict[str, set[str]] = {}
        """Separately counted tools of this interval, by tenant."""
        self._singles: dict[str, int] = {}
        """States of the limit SINGLY, by tenant (`stoa.domain.access.rate_limit`)."""
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    def may_stand_alone(self, tenant: str) -> bool:
        """True if one more refusal of this tenant may have an event of its own; it is then counted against SINGLY."""
        now_us = self._clock.monotonic_ns() // 1000
        end = max(self._singles.get(tenant, 0), now_us) + SINGLY.interval_us
        if end > now_us + SINGLY.capacity_us:
            return False
        if len(self._singles) > _SWEEP_ABOVE:
            self._singles = {key: state for key, state in self._singles.items() if state > now_us}
        self._singles[tenant] = end
        return True

    def count(self, kind: RefusalKind, calls: int = 1, name: str = "") -> None:
        """Count `calls` refusals. Call it in the event loop; the summary is recorded after the interval, or by
        `flush`."""
        count = self._counts.get(kind)
        if count is None:
            kind = self._bounded(kind)
            count = self._counts.get(kind)
        if count is None:
            self._counts[kind] = _Count(calls, self._clock.now(), name)
            self._schedule()
        else:
            count.calls += calls

    async def flush(self) -> None:
        """Record all counted refusals. A summary that finds no room stays counted and is tried again."""
        unkept, reason = 0, ""
        for kind in tuple(self._counts):
            count = self._counts.pop(kind)
            event = self._summary(kind, count)
            try:
                await self._sink.record_refusal(event, is_summary=True)
            except MeteringUnavailable as full:
                self._put_back(kind, count)
                unkept, reason = unkept + count.calls, full.message
            except Exception as defect:  # noqa: BLE001  # counted, and to be recorded: it is tried again
                log_defect("summaries of refused calls", defect)
                self._put_back(kind, count)
                unkept, reason = unkept + count.calls, type(defect).__name__
            else:
                self._report(event, count.name)
        self._tools = {}
        for kind in self._counts:
            self._tools.setdefault(kind.tenant, set()).add(kind.tool)
        if unkept:
            _log.error("%d refused calls are counted and not recorded yet: %s", unkept, reason)
            self._schedule()

    async def close(self) -> None:
        """Record all counted refusals, for the last time."""
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            await self._flushing
        await self.flush()
        if self._timer is not None:
            self._timer.cancel()

    def _bounded(self, kind: RefusalKind) -> RefusalKind:
        tools = self._tools.setdefault(kind.tenant, set())
        if kind.tool not in tools and len(tools) >= _MOST_TOOLS:
            return kind._replace(tool=OTHER_NAMES)
        tools.add(kind.tool)
        return kind

    def _put_back(self, kind: RefusalKind, count: _Count) -> None:
        newer = self._counts.get(kind)
        if newer is not None:
            count.calls += newer.calls
        self._counts[kind] = count

    def _summary(self, kind: RefusalKind, count: _Count) -> MeteringEvent:
        return MeteringEvent(
            event_id=self._ids.new_id(),
            timestamp=self._clock.now(),
            tenant=kind.tenant,
            user_id=NO_USER,
            tool=kind.tool,
            latency_ms=0,
            status=kind.status,
            calls=count.calls,
            metadata={"door": kind.door, "error": kind.code, "since": count.since.isoformat()},
        )

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._begin_flush)

    def _begin_flush(self) -> None:
        self._timer = None
        self._flushing = asyncio.get_running_loop().create_task(self.flush())
