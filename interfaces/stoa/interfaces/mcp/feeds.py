"""Server-sent events, and what waits for one connection."""

import asyncio
from collections import deque
from collections.abc import Callable

QUEUE_LIMIT = 1024


def frame(message: bytes, event_id: str | None = None) -> bytes:
    """One server-sent event."""
    name = b"" if event_id is None else b"id: " + event_id.encode("ascii") + b"\n"
    return b"event: message\n" + name + b"data: " + message + b"\n\n"


class Feed:
    """Frames waiting for one connection. Bounded: a client that does not read is let go, and may come back."""

    def __init__(self, on_close: Callable[["Feed"], None] = lambda _: None) -> None:
        self._frames: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._is_over = False
        self._on_close = on_close

    def push(self, item: bytes) -> bool:
        """False: the feed is full or over, and this was not taken."""
        if self._is_over or len(self._frames) >= QUEUE_LIMIT:
            return False
        self._frames.append(item)
        self._changed.set()
        return True

    def end(self, last: bytes = b"") -> None:
        """Nothing follows what is waiting, and `last`."""
        if not self._is_over:
            self._is_over = True
            if last:
                self._frames.append(last)
            self._changed.set()

    @property
    def is_over(self) -> bool:
        return self._is_over

    async def next(self) -> bytes | None:
        """The next frame; None: it is over. Cancelling it loses nothing."""
        while not self._frames:
            if self._is_over:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._frames.popleft()

    def close(self) -> None:
        """The connection is gone."""
        self._is_over = True
        self._on_close(self)
