"""The machine's own clock."""

from datetime import UTC, datetime
from time import monotonic_ns

from stoa.application.ports import Clock


class SystemClock(Clock):
    """The time of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_ns(self) -> int:
        return monotonic_ns()
