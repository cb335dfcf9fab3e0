"""Following a stream, wherever its messages are made."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.ports.event_store import EventStore
from stoa.application.ports.message_bus import Subscription
from stoa.domain.calls.session import Session
from stoa.domain.errors import SharedStateUnavailable
from stoa.interfaces.mcp.streams.feeds import Event, Feed

_log = logging.getLogger(__name__)

_FOLLOWING = b"following:"

IsAlive = Callable[[], Awaitable[bool]]


def stream_topic(session_id: str, stream: str) -> str:
    """Where the messages of a stream are published."""
    return f"stream:{session_id}:{stream}"


def stream_message(number: int, message: bytes, *, is_last: bool) -> bytes:
    """A message as it is published there."""
    return b"%d%s:%s" % (number, b"!" if is_last else b"", message)


class Follower:
    """Brings the messages of one stream into a feed: what was kept, then what comes, each once and in order.

    It was subscribed before anything was read from the store, so what comes twice is known by its number, and what does
    not come is looked up. Of several followers, wherever they are, the newest stays: each says on the stream's topic
    that it is there, and all see the same order.
    """

    def __init__(
        self,
        events: EventStore,
        session: Session,
        stream: str,
        subscription: Subscription,
        feed: Feed,
        *,
        report: ReportDefect = log_defect,
    ) -> None:
        self._report = report
        self.feed = feed
        self._events = events
        self._session_id = session.id
        self._holder = session.holder
        self._stream = stream
        self._subscription = subscription
        self._token = secrets.token_hex(8).encode()
        self.is_displaced = False
        """A newer follower took its place."""
        self._has_arrived = False
        self._has_begun = False
        self._is_primed = False
        self._newest = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def greeting(self) -> bytes:
        """What it publishes to be the newest."""
        return _FOLLOWING + self._token

    async def begin(self, after: int | None, *, is_primed: bool) -> bool:
        """Go on after that message, or from now on (None), with an event to come back to where the client knows that.
        False: the stream is unknown, or no longer complete."""
        self._is_primed = is_primed
        if after is not None:
            self._newest = after
            return await self._catch_up()
        self._newest = await self._events.begin(self._session_id, self._stream, self._holder)
        if is_primed:
            self.feed.push(Event(b"", self._id_of(self._newest)))
        return True

    @property
    def farewell(self) -> Event | None:
        """What an interrupted stream ends with where the client knows that: when and where to come back."""
        return Event(b"", self._id_of(self._newest)) if self._is_primed else None

    def run(self, is_alive: IsAlive, renew_seconds: float) -> None:
        """Until the stream, the session or the connection is over. `is_alive` is asked every `renew_seconds`."""
        self._task = asyncio.create_task(self._run(is_alive, renew_seconds))

    def stop(self) -> None:
        """The feed is over."""
        if self._task is not None and self._has_begun:  # before, cancelling would keep it from tidying up
            self._task.cancel()

    async def _run(self, is_alive: IsAlive, renew_seconds: float) -> None:
        self._has_begun = True
        try:
            loop = asyncio.get_running_loop()
            due = loop.time() + renew_seconds
            while not self.feed.is_over:
                try:
                    async with asyncio.timeout_at(due):
                        message = await self._subscription.next()
                except TimeoutError:
                    due = loop.time() + renew_seconds
                    # Also the moment to see whether a message was kept that never came.
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
            self.feed.end()
            await self._subscription.close()

    async def _take(self, message: bytes | None) -> bool:
        """False: this was the end."""
        if message is None:
            self._has_arrived = True  # or it was lost, and will not come any more
            return await self._catch_up()
        head, _, body = message.partition(b":")
        if head + b":" == _FOLLOWING:
            is_own = body == self._token
            self._has_arrived = self._has_arrived or is_own
            self.is_displaced = not is_own and self._has_arrived
            return not self.is_displaced
        number, is_last = int(head.rstrip(b"!")), head.endswith(b"!")
        if number <= self._newest:
            return True
        if number > self._newest + 1:
            return await self._catch_up()
        self._newest = number
        return self.feed.push(Event(body, self._id_of(number))) and not is_last

    async def _catch_up(self) -> bool:
        known = await self._events.replay(self._session_id, self._stream, self._newest)
        if known is None:
            return False
        for event in known.events:
            if not self.feed.push(Event(event.message, self._id_of(event.number))):
                return False
            self._newest = event.number
        if known.is_over:
            self.feed.end()
        return True

    def _id_of(self, number: int) -> str:
        return f"{self._stream}:{number}"
