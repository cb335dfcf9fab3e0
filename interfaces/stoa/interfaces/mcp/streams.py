"""Streams of messages beside single answers: what is on them, and going on with one after the connection broke
(2025-11-25, "Resumability and Redelivery").

A stream's events are numbered; an event's id is `STREAM:NUMBER`. The transport writes what a `Feed` gives it.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from stoa.application.ports.event_store import EventStore
from stoa.domain.identity import Principal
from stoa.domain.session import Session

QUEUE_LIMIT = 1024
AWAY_SECONDS = 300.0
STANDALONE = "s"
"""The stream of a session that belongs to no request."""


class Event(NamedTuple):
    """One message on a stream."""

    message: bytes
    """Empty: nothing but a place to come back to."""
    id: str | None = None
    """What a client names to get what came after it."""


class Feed:
    """Events waiting for one connection. Bounded: a client that does not read is let go, and may come back."""

    def __init__(self, on_close: Callable[["Feed"], None] = lambda _: None, caller: Principal | None = None) -> None:
        self.caller = caller
        """Who reads it, as authenticated when it was opened."""
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._is_over = False
        self._on_close = on_close
        self.deadline: asyncio.TimerHandle | None = None
        """What ends it when the right to it does."""

    def push(self, event: Event) -> bool:
        """False: the feed is full or over, and this was not taken."""
        if self._is_over or len(self._events) >= QUEUE_LIMIT:
            return False
        self._events.append(event)
        self._changed.set()
        return True

    def end(self, last: Event | None = None) -> None:
        """Nothing follows what is waiting, and `last`."""
        if not self._is_over:
            self._is_over = True
            if last is not None:
                self._events.append(last)
            self._changed.set()

    async def next(self) -> Event | None:
        """The next event; None: it is over. Cancelling it loses nothing."""
        while not self._events:
            if self._is_over:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()

    def close(self) -> None:
        """The connection is gone."""
        if self.deadline is not None:  # left so, each connection would be remembered until its token expires
            self.deadline.cancel()
        self._is_over = True
        self._on_close(self)


class Streams:
    """All streams of all sessions. `away_seconds`: how long a session is told on after its standalone stream broke
    off; its client finds what it missed when it comes back."""

    def __init__(self, events: EventStore, *, away_seconds: float = AWAY_SECONDS) -> None:
        self._events = events
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._away_seconds = away_seconds
        self._away: dict[str, tuple[asyncio.TimerHandle, Principal | None]] = {}

    async def begin(self, session: Session, stream: str) -> Event | None:
        """What a stream begins with: an event without a message, so that a client can come back before anything was
        sent. None for older clients, which stumble over it."""
        if not is_primed(session):
            return None
        await self._events.begin(session.id, stream)
        return Event(b"", f"{stream}:0")

    async def publish(self, session_id: str, stream: str, message: bytes, *, is_last: bool = False) -> Event:
        """Keep a message of a stream, and send it to who follows it; returns its event."""
        number = await self._events.append(session_id, stream, message, is_last=is_last)
        event = Event(message, f"{stream}:{number}")
        feed = self._feeds.get((session_id, stream))
        if feed is not None and (not feed.push(event) or is_last):
            feed.end()
        return event

    def listening(self) -> list[str]:
        """Sessions whose standalone stream is open, or broke off lately."""
        return [*(session_id for session_id, stream in self._feeds if stream == STANDALONE), *self._away]

    def readers(self) -> list[tuple[str, Principal]]:
        """Sessions whose standalone stream is open, or broke off lately, and who reads it."""
        followed = [(key[0], feed.caller) for key, feed in self._feeds.items() if key[1] == STANDALONE]
        away = [(session_id, caller) for session_id, (_, caller) in self._away.items()]
        return [(session_id, caller) for session_id, caller in (*followed, *away) if caller is not None]

    async def follow(self, session: Session, last_event_id: str | None, caller: Principal | None = None) -> Feed:
        """What came after that event, then what comes; without one, or one that is unknown, the session's standalone
        stream from now on. Takes the place of who followed the same stream before."""
        stream, _, number = (last_event_id or "").partition(":")
        known = None
        if number.isdecimal() and len(number) <= 10:
            known = await self._events.replay(session.id, stream, int(number))
        if known is None:
            feed = self._follow(session.id, STANDALONE, caller)
            start = await self.begin(session, STANDALONE)
            if start is not None:
                feed.push(start)
            return feed
        feed = self._follow(session.id, stream, caller)
        for event in known.events:
            feed.push(Event(event.message, f"{stream}:{event.number}"))
        if known.is_over:
            feed.end()
        return feed

    def _follow(self, session_id: str, stream: str, caller: Principal | None) -> Feed:
        key = (session_id, stream)

        def forget(feed: Feed) -> None:
            if self._feeds.get(key) is feed:
                del self._feeds[key]
                if stream == STANDALONE:
                    later = asyncio.get_running_loop().call_later
                    self._away[session_id] = later(self._away_seconds, self._away.pop, session_id), caller

        if stream == STANDALONE:
            self._is_back(session_id)
        earlier = self._feeds.get(key)
        if earlier is not None:
            earlier.end()
        feed = self._feeds[key] = Feed(forget, caller)
        return feed

    def _is_back(self, session_id: str) -> None:
        away = self._away.pop(session_id, None)
        if away is not None:
            away[0].cancel()

    async def end(self, session_id: str) -> None:
        """The session is gone."""
        self._is_back(session_id)
        for key in [key for key in self._feeds if key[0] == session_id]:
            self._feeds.pop(key).end()
        await self._events.forget(session_id)


class Recording:
    """The stream that answers one POST in a session: every event of it can be asked for again."""

    def __init__(self, streams: Streams, session: Session) -> None:
        self._streams = streams
        self._session = session
        self._stream = secrets.token_hex(8)

    @property
    def can_be_left(self) -> bool:
        """The client knows that it has to come back."""
        return is_primed(self._session)

    async def opening(self) -> Event | None:
        return await self._streams.begin(self._session, self._stream)

    async def event(self, message: bytes, *, is_last: bool) -> Event:
        return await self._streams.publish(self._session.id, self._stream, message, is_last=is_last)


def is_primed(session: Session) -> bool:
    """Streams begin with an event without data since 2025-11-25."""
    return session.revision >= "2025-11-25"
