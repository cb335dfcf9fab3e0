"""Messages that wait for one subscriber of a message bus; every adapter hands it out."""

import asyncio
from collections.abc import Awaitable, Callable

from stoa.application.ports import Subscription

LIMIT = 1024
"""Upper bound on waiting messages; a reader further behind is notified of a loss."""


class Mailbox(Subscription):
    def __init__(self, on_close: Callable[["Mailbox"], Awaitable[None]], *, limit: int = LIMIT) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(limit)
        self._on_close = on_close
        self._is_open = True

    def put(self, message: bytes) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.lose()

    def lose(self) -> None:
        """Record a loss. Messages that still wait are dropped too: the reader has to look the state up anyway."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self) -> bytes | None:
        return await self._queue.get()

    async def close(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._on_close(self)
