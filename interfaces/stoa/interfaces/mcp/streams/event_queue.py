"""Events that wait for one connection to send them."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from stoa.domain.access.identity import Principal

QUEUE_LIMIT = 1024
"""Events."""
QUEUE_BYTES = 2 * 1024 * 1024
"""Twice what an event store keeps of a session: a client that resumes a stream gets all of it."""
RETRY_MS = 1000
"""Delay before a client resumes a stream that ended (the `retry` field of server-sent events)."""
RETRY_AFTER_EXPIRY_MS = 3000
"""The delay after the client's token has expired. Clients take a token to live up to a second longer than it does
(`expires_in` counts from the answer, `exp` from a whole second before it). A client that came back within that second
would show the old token, be refused, and open a browser where a refresh would do."""


class Event(NamedTuple):
    """One server-sent event."""

    message: bytes
    """Empty: only an id to come back to."""
    id: str | None = None
    """A client that resumes names it to get what came after (`Last-Event-ID`)."""
    retry_ms: int = RETRY_MS
    """Written with an empty message only."""


class EventQueue:
    """The events of one open stream, in order, until its connection sends them. Bounded: the stream of a client that
    does not read ends, and the client may resume it. `on_close` is called once the connection is gone."""

    def __init__(
        self, on_close: Callable[["EventQueue"], None] = lambda _: None, caller: Principal | None = None
    ) -> None:
        self.caller = caller
        """The reader, as authenticated when the stream was opened."""
        self._events: deque[Event] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._is_over = False
        self._on_close = on_close
        self._expiry: asyncio.TimerHandle | None = None

    def end_after(self, seconds: float, end: Callable[[], None]) -> None:
        """Call `end` when the reader's right to the stream ends, unless the connection closes before."""
        self._expiry = asyncio.get_running_loop().call_later(max(0.0, seconds), end)

    def expire(self) -> None:
        """End the stream because its reader's token expired."""
        self.end(Event(b"", retry_ms=RETRY_AFTER_EXPIRY_MS))

    def push(self, event: Event) -> bool:
        """Add an event. False: the queue is full or over, and the event was not taken."""
        if self._is_over or len(self._events) >= QUEUE_LIMIT:
            return False
        # One message may be larger than the bound by itself: it is taken when it waits alone.
        if self._events and self._size + len(event.message) > QUEUE_BYTES:
            return False
        self._append(event)
        self._changed.set()
        return True

    def end(self, last: Event | None = None) -> None:
        """End the stream after what is queued and after `last`. Does nothing the second time."""
        if not self._is_over:
            self._is_over = True
            if last is not None:
                self._append(last)
            self._changed.set()

    @property
    def is_over(self) -> bool:
        """No event will be added; some may still be queued."""
        return self._is_over

    async def next(self) -> Event | None:
        """Wait for the next event and remove it; None at the end. Cancelling loses no event."""
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
        """The connection is gone: drop what is queued."""
        if self._expiry is not None:  # or the loop would hold each connection until its token expires
            self._expiry.cancel()
        self._is_over = True
        self._on_close(self)
