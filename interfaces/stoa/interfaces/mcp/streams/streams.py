"""Streams of messages beside single answers: what is on them, and going on with one after the connection broke
(2025-11-25, "Resumability and Redelivery").

A stream's events are numbered; an event's id is `STREAM:NUMBER`. The transport writes what a `Feed` gives it. An event
is kept first, then published on the stream's topic of the message bus, where a `Follower` waits for it: on this replica
or on another one.
"""

import asyncio
import logging
import secrets
from contextlib import suppress

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.application.ports.event_store import EventStore
from stoa.application.ports.message_bus import MessageBus
from stoa.domain.access.fair_share import Caps, FairShares, Holder, NoRoom
from stoa.domain.access.identity import Principal
from stoa.domain.calls.session import Session
from stoa.domain.errors import SharedStateUnavailable
from stoa.interfaces.mcp.streams.feeds import Event, Feed
from stoa.interfaces.mcp.streams.following import Follower, IsAlive, stream_message, stream_topic

_log = logging.getLogger(__name__)

AWAY_SECONDS = 300.0
FOLLOWED = Caps(per_caller=256, per_tenant=5000, total=10_000)
"""GET streams of sessions that are followed at once."""
RENEW_SECONDS = 60.0
"""How often an open stream is looked after; far below the idle time of a session."""
STANDALONE = "s"
"""The stream of a session that belongs to no request."""


class Streams:
    """All streams of all sessions. `bus`: shared by the replicas that share the sessions. `away_seconds`: how long a
    session is told on after its standalone stream broke off; its client finds what it missed when it comes back."""

    def __init__(
        self,
        events: EventStore,
        bus: MessageBus | None = None,
        *,
        renew_seconds: float = RENEW_SECONDS,
        away_seconds: float = AWAY_SECONDS,
        report: ReportDefect = log_defect,
    ) -> None:
        self.report = report
        self.bus = bus or InMemoryMessageBus()
        self._events = events
        self._renew_seconds = renew_seconds
        self._feeds: dict[tuple[str, str], Feed] = {}
        self._followers: dict[Feed, Follower] = {}
        self._shares: FairShares[tuple[str, str]] = FairShares(FOLLOWED)
        self._away_seconds = away_seconds
        self._away: dict[str, tuple[asyncio.TimerHandle, Principal | None]] = {}

    async def begin(self, session: Session, stream: str) -> Event | None:
        """What a stream begins with: an event without a message, so that a client can come back before anything was
        sent. None for older clients, which stumble over it."""
        if not is_primed(session):
            return None
        return Event(b"", f"{stream}:{await self._events.begin(session.id, stream, session.holder)}")

    async def publish(
        self, session_id: str, stream: str, message: bytes, *, is_last: bool = False, holder: Holder | None = None
    ) -> Event:
        """Keep a message of a stream, which counts for `holder`, and send it to who follows it; returns its event."""
        number = await self._events.append(session_id, stream, message, is_last=is_last, holder=holder)
        await self.bus.publish(stream_topic(session_id, stream), stream_message(number, message, is_last=is_last))
        return Event(message, f"{stream}:{number}")

    def listening(self) -> list[str]:
        """Sessions whose standalone stream is open here, or broke off here lately."""
        return [*(session_id for session_id, stream in self._feeds if stream == STANDALONE), *self._away]

    def readers(self) -> list[tuple[str, Principal]]:
        """The same sessions, with who reads the stream."""
        followed = [(key[0], feed.caller) for key, feed in self._feeds.items() if key[1] == STANDALONE]
        away = [(session_id, caller) for session_id, (_, caller) in self._away.items()]
        return [(session_id, caller) for session_id, caller in (*followed, *away) if caller is not None]

    async def follow(
        self, session: Session, last_event_id: str | None, is_alive: IsAlive, caller: Principal | None = None
    ) -> Feed:
        """What came after that event, then what comes; without one, or one that is unknown, the session's standalone
        stream from now on. Takes the place of who followed the same stream before. `is_alive` is asked again and again
        while it is open; it ends when the answer is no. Raises SharedStateUnavailable."""
        stream, _, number = (last_event_id or "").partition(":")
        if number.isdecimal() and len(number) <= 10:
            feed = await self._follow(session, stream, int(number), is_alive, caller)
            if feed is not None:
                return feed
        feed = await self._follow(session, STANDALONE, None, is_alive, caller)
        if feed is None:
            raise SharedStateUnavailable
        return feed

    async def _follow(
        self, session: Session, stream: str, after: int | None, is_alive: IsAlive, caller: Principal | None
    ) -> Feed | None:
        """None: the stream is unknown, or what follows is no longer complete."""
        key = (session.id, stream)

        def forget(feed: Feed) -> None:
            if self._feeds.get(key) is feed:
                del self._feeds[key]
                self._shares.remove(key)
                if stream == STANDALONE and not follower.is_displaced:
                    self._is_gone(session.id, caller)
            self._followers.pop(feed, None)
            follower.stop()

        subscription = await self.bus.subscribe(stream_topic(*key))
        follower = Follower(self._events, session, stream, subscription, Feed(forget, caller), report=self.report)
        try:
            is_known = await follower.begin(after, is_primed=is_primed(session))
            if is_known:
                await self.bus.publish(stream_topic(*key), follower.greeting)
        except BaseException:
            await subscription.close()
            raise
        if not is_known:
            await subscription.close()
            return None
        if stream == STANDALONE:
            self.is_back(session.id)
        earlier = self._feeds.get(key)
        if earlier is not None:
            earlier.end()
        self._feeds[key] = follower.feed
        self._followers[follower.feed] = follower
        self._let_others_go(key, session.holder)
        follower.run(is_alive, self._renew_seconds)
        return follower.feed

    def _let_others_go(self, key: tuple[str, str], holder: Holder) -> None:
        """Those that give way come back where they broke off. With more tenants than streams nobody gives way, and the
        connections are the bound."""
        with suppress(NoRoom):
            for displaced in self._shares.put(key, holder):
                self._feeds.pop(displaced).end()

    def _is_gone(self, session_id: str, caller: Principal | None) -> None:
        self.is_back(session_id)
        later = asyncio.get_running_loop().call_later
        self._away[session_id] = later(self._away_seconds, self._away.pop, session_id), caller

    def is_back(self, session_id: str) -> None:
        """Its client follows a stream again, here or on another replica."""
        away = self._away.pop(session_id, None)
        if away is not None:
            away[0].cancel()

    def end_all(self) -> None:
        """No stream is followed here any longer; each client may come back where it broke off."""
        for feed, follower in list(self._followers.items()):
            feed.end(follower.farewell)

    async def end(self, session_id: str) -> None:
        """The session is gone."""
        self.let_go(session_id)
        await self._events.forget(session_id)

    def let_go(self, session_id: str) -> None:
        """Its streams are followed no longer, on this replica."""
        self.is_back(session_id)
        for key in [key for key in self._feeds if key[0] == session_id]:
            self._feeds.pop(key).end()
            self._shares.remove(key)


class Recording:
    """The stream that answers one POST in a session: every event of it can be asked for again."""

    def __init__(self, streams: Streams, session: Session) -> None:
        self._streams = streams
        self._session = session
        self._stream = secrets.token_hex(8)
        self._is_kept = True

    @property
    def can_be_left(self) -> bool:
        """The client knows that it has to come back, and will find the rest."""
        return is_primed(self._session) and self._is_kept

    async def opening(self) -> Event | None:
        try:
            return await self._streams.begin(self._session, self._stream)
        except SharedStateUnavailable:
            self._give_up()
            return None

    async def event(self, message: bytes, *, is_last: bool) -> Event:
        """A client that is still there gets what cannot be kept all the same. After it nothing more is kept: a stream
        with a hole would look complete to who comes back."""
        if self._is_kept:
            try:
                holder = self._session.holder
                return await self._streams.publish(
                    self._session.id, self._stream, message, is_last=is_last, holder=holder
                )
            except SharedStateUnavailable:
                self._give_up()
        return Event(message)

    def _give_up(self) -> None:
        self._is_kept = False
        _log.warning("an answer's stream cannot be kept: what the replicas share cannot be reached")


def is_primed(session: Session) -> bool:
    """Streams begin with an event without data since 2025-11-25."""
    return session.revision >= "2025-11-25"
