"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

from stoa.application.ports import Clock
from stoa.domain.errors import InvalidInput

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock(Clock):
    """A clock for tests and simulations: both times move by `advance` only, and together."""

    def __init__(self, start: datetime = _EPOCH) -> None:
        if start.utcoffset() is None:
            raise InvalidInput("ManualClock: start has no time zone; write datetime(..., tzinfo=UTC)")
        self._start = start.astimezone(UTC)
        self._elapsed_ns = 0

    def now(self) -> datetime:
        return self._start + timedelta(microseconds=self._elapsed_ns // 1000)

    def monotonic_ns(self) -> int:
        return self._elapsed_ns

    def advance(self, seconds: float) -> None:
        """Move forward. Raises InvalidInput for a step back, which no clock with a monotonic part can take."""
        if seconds < 0:
            raise InvalidInput("ManualClock: time goes forward only; advance by 0 seconds or more")
        self._elapsed_ns += round(seconds * 1_000_000_000)
