"""Following a stream whose messages may be made by any replica."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.event_store import EventStore
from stoa.application.ports.message_bus import Subscription
from stoa.domain.calls.session import Session
from stoa.domain.errors import SharedStateUnavailable
from stoa.interfaces.mcp.streams.event_queue import Event, EventQueue

_log = logging.getLogger(__name__)

_FOLLOWING = b"following:"
"""Prefix of a follower's greeting; messages of a stream begin with a number instead."""

IsAlive = Callable[[], Awaitable[bool]]
"""Returns whether the session still exists."""


def stream_topic(session_id: str, stream: str) -> str:
    """The message bus topic of a stream."""
    return f"stream:{session_id}:{stream}"


def stream_message(number: int, message: bytes, *, is_last: bool) -> bytes:
    """A message as it is published on its stream's topic: `NUMBER[!]:MESSAGE`, `!` on the last one."""
    return b"%d%s:%s" % (number, b"!" if is_last else b"", message)


class StreamFollower:
    """Brings the messages of one stream into a queue: stored ones first, then new ones, each once and in order.

    It is subscribed before it reads the store, so that nothing falls between the two: duplicates are recognised by
    their number, and a gap in the numbers is read from the store. Of several followers of a stream, on any replica, the
    newest stays: each publishes a greeting on the stream's topic, and all see the greetings in the same order.
    """

    def __init__(
        self,
        events: EventStore,
        session: Session,
        stream: str,
        subscription: Subscription,
        queue: EventQueue,
        *,
        report: ReportDefect = log_defect,
    ) -> None:
        self._report = report
        self.queue = queue
        self._events = events
        self._session_id = session.id
        self._holder = session.holder
        self._stream = stream
        self._subscription = subscription
        self._token = secrets.token_hex(8).encode()
        self.is_displaced = False
        """A newer follower took its place."""
        self._has_own_greeting = False
        self._is_running = False
        self._is_primed = False
        self._newest = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def greeting(self) -> bytes:
        """The message to publish on the stream's topic to displace earlier followers."""
        return _FOLLOWING + self._token

    async def begin(self, after: int | None, *, is_primed: bool) -> bool:
        """Go on after message `after`, or with new messages only (None). `is_primed`: the client knows events without a
        message, so that the stream can begin with an id to come back to. False: the stream is unknown, or its store no
        longer has all that came after."""
        self._is_primed = is_primed
        if after is not None:
            self._newest = after
            return await self._catch_up()
        self._newest = await self._events.begin(self._session_id, self._stream, self._holder)
        if is_primed:
            self.queue.push(Event(b"", self._id_of(self._newest)))
        return True

    @property
    def farewell(self) -> Event | None:
        """The event that ends an interrupted stream: when and where to come back. None for clients that do not know
        events without a message."""
        return Event(b"", self._id_of(self._newest)) if self._is_primed else None

    def run(self, is_alive: IsAlive, renew_seconds: float) -> None:
        """Follow in the background until the stream, the session or the connection is over. `is_alive` is asked every
        `renew_seconds`."""
        self._task = asyncio.create_task(self._run(is_alive, renew_seconds))

    def stop(self) -> None:
        """End the background work, because the connection is gone."""
        # A task that is cancelled before its first step never enters its `try`, and would leave the subscription open.
        # One that has not begun ends by itself: its queue is over.
        if self._task is not None and self._is_running:
            self._task.cancel()

    async def _run(self, is_alive: IsAlive, renew_seconds: float) -> None:
        self._is_running = True
        try:
            loop = asyncio.get_running_loop()
            due = loop.time() + renew_seconds
            while not self.queue.is_over:
                try:
                    async with asyncio.timeout_at(due):
                        message = await self._subscription.next()
                except TimeoutError:
                    due = loop.time() + renew_seconds
                    # Also the moment to find a message that was stored but never published: its replica died between.
                    if not (await is_alive() and await self._catch_up()):
                        break
                else:
                    if not await self._take(message):
                        break
        except SharedStateUnavailable:
            _log.warning("a stream is let go: what the replicas share cannot be reached; its client may come back")
        except Exception as defect:  # noqa: BLE001  # its client finds the stream ended, and comes back
            self._report("streams", defect)
        finally:
            self.queue.end()
            await self._subscription.close()

    async def _take(self, message: bytes | None) -> bool:
        """Handle one message of the topic; None: the subscription may have missed some. False: the stream ended."""
        if message is None:
            self._has_own_greeting = True  # it may be among those that were missed
            return await self._catch_up()
        head, _, body = message.partition(b":")
        if head + b":" == _FOLLOWING:
            is_own = body == self._token
            # Greetings before its own are of earlier followers, which this one displaces.
            self._has_own_greeting = self._has_own_greeting or is_own
            self.is_displaced = not is_own and self._has_own_greeting
            return not self.is_displaced
        number, is_last = int(head.rstrip(b"!")), head.endswith(b"!")
        if number <= self._newest:
            return True
        if number > self._newest + 1:
            return await self._catch_up()
        self._newest = number
        return self.queue.push(Event(body, self._id_of(number))) and not is_last

    async def _catch_up(self) -> bool:
        """Queue what the store has after the newest message. False: it is no longer complete, or the queue is full."""
        missed = await self._events.replay(self._session_id, self._stream, self._newest)
        if missed is None:
            return False
        for event in missed.events:
            if not self.queue.push(Event(event.message, self._id_of(event.number))):
                return False
            self._newest = event.number
        if missed.is_over:
            self.queue.end()
        return True

    def _id_of(self, number: int) -> str:
        return f"{self._stream}:{number}"
