"""RefusalLog: a bounded number of log lines for refused requests, so that callers cannot flood the log.

Each reason gets a few lines a minute in the structured form of all logs: reason, door, status, the client that a
verified token names, and the network address. Further refusals of that minute are counted, and one line gives their
number.
"""

import asyncio
import logging
from dataclasses import dataclass

from stoa.application.ports.clock import Clock
from stoa.application.ports.refusal_watcher import RefusalWatcher
from stoa.domain.access.refusal_reason import RefusalReason
from stoa.domain.policy.refusal import Refusal

LINES_A_MINUTE = 10
"""Log lines per reason and minute."""
_MINUTE_NS = 60_000_000_000
_FLUSH_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Minute:
    ends_ns: int
    lines: int = 0
    suppressed: int = 0


class RefusalLog(RefusalWatcher):
    """Logs refusals; call it in the event loop. `close` writes the counts that have no line yet."""

    def __init__(self, clock: Clock, lines_a_minute: int = LINES_A_MINUTE) -> None:
        self._clock = clock
        self._lines_a_minute = lines_a_minute
        self._minutes: dict[RefusalReason, _Minute] = {}
        self._timer: asyncio.TimerHandle | None = None

    def told(self, refusal: Refusal) -> None:
        now_ns = self._clock.monotonic_ns()
        minute = self._minutes.get(refusal.reason)
        if minute is None or now_ns >= minute.ends_ns:
            if minute is not None:
                _say_suppressed(refusal.reason, minute)
            minute = self._minutes[refusal.reason] = _Minute(now_ns + _MINUTE_NS)
        if minute.lines >= self._lines_a_minute:
            minute.suppressed += refusal.calls
            self._schedule()
            return
        minute.lines += 1
        _log.warning(
            "request refused: %s%s",
            refusal.reason.value,
            f" ({refusal.detail})" if refusal.detail else "",
            extra={
                "reason": refusal.reason.value,
                "door": refusal.door,
                "status": refusal.status,
                "client": refusal.client,
                "address": refusal.address,
                "calls": refusal.calls,
            },
        )

    def flush(self) -> None:
        """Logs, for each reason, how many refusals have no line of their own."""
        for reason, minute in self._minutes.items():
            _say_suppressed(reason, minute)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.flush()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush_later)

    def _flush_later(self) -> None:
        self._timer = None
        self.flush()


def _say_suppressed(reason: RefusalReason, minute: _Minute) -> None:
    if minute.suppressed:
        suppressed, minute.suppressed = minute.suppressed, 0
        details = {"reason": reason.value, "suppressed": suppressed}
        _log.warning("%d further requests refused: %s", suppressed, reason.value, extra=details)
