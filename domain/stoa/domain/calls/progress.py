"""The pace at which reports of progress reach the client (MCP "Progress")."""

import math


class ProgressPace:
    """Limits reports of progress: they strictly increase, end when the total is reached, and are at least `interval_ns`
    apart. The first report and the one that reaches the total are not delayed."""

    __slots__ = ("_interval_ns", "_is_over", "_last", "_next_ns")

    def __init__(self, interval_ns: int = 0) -> None:
        self._interval_ns = interval_ns
        self._last = -math.inf
        self._next_ns = 0
        self._is_over = False

    def accepts(self, progress: float, total: float | None, now_ns: int) -> bool:
        """True if this report should be sent now; it then counts as sent."""
        is_number = math.isfinite(progress) and (total is None or math.isfinite(total))
        if self._is_over or not is_number or progress <= self._last:
            return False
        is_complete = total is not None and progress >= total
        if now_ns < self._next_ns and self._last > -math.inf and not is_complete:
            return False
        self._last, self._next_ns, self._is_over = progress, now_ns + self._interval_ns, is_complete
        return True
