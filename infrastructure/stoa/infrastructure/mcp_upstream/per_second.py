"""Bounds on what an upstream may send by the second."""

import asyncio

MAX_LINES = 10_000
"""Lines of a program's output, or of server-sent events on a stream that belongs to no call, with those that say
nothing."""


class PerSecond:
    """Counts what comes within one second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._second = 0

    def takes(self, count: int) -> bool:
        """Count these; False if there are more in this second than there may be."""
        second = int(asyncio.get_running_loop().time())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += count
        return self._count <= self._most
