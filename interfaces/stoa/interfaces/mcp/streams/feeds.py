"""What waits for one connection."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from stoa.domain.access.identity import Principal

QUEUE_LIMIT = 1024
QUEUE_BYTES = 2 * 1024 * 1024
"""Twice what is kept of a session: who comes back to it gets all of it."""
RETRY_MS = 1000
"""After which a client may come back to a stream that ended."""
RETRY_AFTER_EXPIRY_MS = 3000
"""The same, once its token has expired. Clients take that to live up to a second longer than it does (`expires_in`
counts from the answer, `exp` from a whole second before it): one that comes back meanwhile shows it again, is refused,
and opens a browser where a refresh would do."""


class Event(NamedTuple):
    """One message on a stream."""

    message: bytes
    """Empty: nothing but a place to come back to."""
    id: str | None = None
    """What a client names to get what came after it."""
    retry_ms: int = RETRY_MS
    """Of an empty message."""


class Feed:
    """Events waiting for one connection. Bounded: a client that does not read is let go, and may come back."""

    def __init__(self, on_close: Callable[["Feed"], None] = lambda _: None, caller: Principal | None = None) -> None:
        self.caller = caller
        """Who reads it, as authenticated when it was opened."""
        self._events: deque[Event] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._is_over = False
        self._on_close = on_close
        self.deadline: asyncio.TimerHandle | None = None
        """What ends it when the right to it does."""

    def expire(self) -> None:
        """End it because its reader's token does."""
        self.end(Event(b"", retry_ms=RETRY_AFTER_EXPIRY_MS))

    def push(self, event: Event) -> bool:
        """False: the feed is full or over, and this was not taken."""
        if self._is_over or len(self._events) >= QUEUE_LIMIT:
            return False
        if self._events and self._size + len(event.message) > QUEUE_BYTES:
            return False
        self._append(event)
        self._changed.set()
        return True

    def end(self, last: Event | None = None) -> None:
        """Nothing follows what is waiting, and `last`."""
        if not self._is_over:
            self._is_over = True
            if last is not None:
                self._append(last)
            self._changed.set()

    @property
    def is_over(self) -> bool:
        return self._is_over

    async def next(self) -> Event | None:
        """The next event; None: it is over. Cancelling it loses nothing."""
        while not self._events:
            if self._is_over:
                return None
            self._changed.clear()
            await self._changed.wait()
        event = self._events.popleft()
        self._size -= len(event.message)
        return event

    def _append(self, event: Event) -> None:
        self._events.append(event)
        self._size += len(event.message)

    def close(self) -> None:
        """The connection is gone."""
        if self.deadline is not None:  # left so, each connection would be remembered until its token expires
            self.deadline.cancel()
        self._is_over = True
        self._on_close(self)
