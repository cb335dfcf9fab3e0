"""The streams of sessions: publishing messages on them, following them, and resuming one that broke off (2025-11-25,
"Resumability and Redelivery").

The events of a stream are numbered; an event's id is `STREAM:NUMBER`. Each event is stored first and then published on
the stream's topic of the message bus, where a `StreamFollower` waits for it, on this replica or on another. In the
other order a follower could send an event that is nowhere to be resumed from.
"""

import asyncio
from contextlib import suppress

from stoa.application.concurrency.supervisor import ReportDefect, log_defect
from stoa.application.memory.message_bus import InMemoryMessageBus
from stoa.application.ports.event_store import EventStore
from stoa.application.ports.message_bus import MessageBus
from stoa.domain.access.fair_share import Caps, FairShares, Holder, NoRoom
from stoa.domain.access.identity import Principal
from stoa.domain.calls.session import Session
from stoa.domain.errors import SharedStateUnavailable
from stoa.interfaces.mcp.streams.event_queue import Event, EventQueue
from stoa.interfaces.mcp.streams.stream_follower import IsAlive, StreamFollower, stream_message, stream_topic

AWAY_SECONDS = 300.0
FOLLOWED = Caps(per_caller=256, per_tenant=5000, total=10_000)
"""GET streams of sessions that are open at once."""
RENEW_SECONDS = 60.0
"""Interval at which an open stream checks that its session exists; far below the idle time of a session."""
STANDALONE = "s"
"""The name of a session's stream that belongs to no request (the GET stream)."""


class Streams:
    """All streams of all sessions on this replica. `bus`: shared by the replicas that share the sessions.
    `away_seconds`: how long messages are still stored for a session whose standalone stream broke off, so that its
    client finds them when it resumes."""

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
        self._queues: dict[tuple[str, str], EventQueue] = {}
        self._followers: dict[EventQueue, StreamFollower] = {}
        self._shares: FairShares[tuple[str, str]] = FairShares(FOLLOWED)
        self._away_seconds = away_seconds
        self._away: dict[str, tuple[asyncio.TimerHandle, Principal | None]] = {}

    async def begin(self, session: Session, stream: str) -> Event | None:
        """Begin a stream. Returns its first event, which has an id and no message, so that a client can resume before
        anything was sent; None for older clients, which fail on such an event."""
        if not is_primed(session):
            return None
        return Event(b"", f"{stream}:{await self._events.begin(session.id, stream, session.holder)}")

    async def publish(
        self, session_id: str, stream: str, message: bytes, *, is_last: bool = False, holder: Holder | None = None
    ) -> Event:
        """Store a message of a stream, on the account of `holder`, and send it to the stream's follower."""
        number = await self._events.append(session_id, stream, message, is_last=is_last, holder=holder)
        await self.bus.publish(stream_topic(session_id, stream), stream_message(number, message, is_last=is_last))
        return Event(message, f"{stream}:{number}")

    def listening(self) -> list[str]:
        """Sessions whose standalone stream is open here, or broke off here at most `away_seconds` ago."""
        return [*(session_id for session_id, stream in self._queues if stream == STANDALONE), *self._away]

    def readers(self) -> list[tuple[str, Principal]]:
        """The sessions of `listening`, each with the principal that reads it."""
        present = [(key[0], queue.caller) for key, queue in self._queues.items() if key[1] == STANDALONE]
        away = [(session_id, caller) for session_id, (_, caller) in self._away.items()]
        return [(session_id, caller) for session_id, caller in (*present, *away) if caller is not None]

    async def follow(
        self, session: Session, last_event_id: str | None, is_alive: IsAlive, caller: Principal | None = None
    ) -> EventQueue:
        """Open a stream: what came after `last_event_id`, then what comes. Without an id, or with an unknown one, the
        session's standalone stream from now on. Displaces an earlier follower of the same stream. `is_alive` is asked
        every `renew_seconds`, and the stream ends once it says no. Raises SharedStateUnavailable."""
        stream, _, number = (last_event_id or "").partition(":")
        if number.isdecimal() and len(number) <= 10:
            queue = await self._follow(session, stream, int(number), is_alive, caller)
            if queue is not None:
                return queue
        queue = await self._follow(session, STANDALONE, None, is_alive, caller)
        if queue is None:
            raise SharedStateUnavailable
        return queue

    async def _follow(
        self, session: Session, stream: str, after: int | None, is_alive: IsAlive, caller: Principal | None
    ) -> EventQueue | None:
        """None: the stream is unknown, or what came after is no longer complete."""
        key = (session.id, stream)

        def forget(closed: EventQueue) -> None:
            if self._queues.get(key) is closed:
                del self._queues[key]
                self._shares.remove(key)
                if stream == STANDALONE and not follower.is_displaced:
                    self._mark_away(session.id, caller)
            self._followers.pop(closed, None)
            follower.stop()

        subscription = await self.bus.subscribe(stream_topic(*key))
        queue = EventQueue(forget, caller)
        follower = StreamFollower(self._events, session, stream, subscription, queue, report=self.report)
        try:
            has_begun = await follower.begin(after, is_primed=is_primed(session))
            if has_begun:
                # Not before: a follower that cannot go on must not displace one that can.
                await self.bus.publish(stream_topic(*key), follower.greeting)
        except BaseException:
            await subscription.close()
            raise
        if not has_begun:
            await subscription.close()
            return None
        if stream == STANDALONE:
            self.mark_back(session.id)
        earlier = self._queues.get(key)
        if earlier is not None:
            earlier.end()
        self._queues[key] = queue
        self._followers[queue] = follower
        self._make_room(key, session.holder)
        follower.run(is_alive, self._renew_seconds)
        return queue

    def _make_room(self, key: tuple[str, str], holder: Holder) -> None:
        """End streams of those that hold most; their clients resume where they broke off. With more tenants than
        streams nothing ends, and the connections are the bound."""
        with suppress(NoRoom):
            for displaced in self._shares.put(key, holder):
                self._queues.pop(displaced).end()

    def _mark_away(self, session_id: str, caller: Principal | None) -> None:
        self.mark_back(session_id)
        later = asyncio.get_running_loop().call_later
        self._away[session_id] = later(self._away_seconds, self._away.pop, session_id), caller

    def mark_back(self, session_id: str) -> None:
        """The session's client follows its standalone stream again, here or on another replica."""
        away = self._away.pop(session_id, None)
        if away is not None:
            away[0].cancel()

    def end_all(self) -> None:
        """End every stream on this replica; clients resume where it broke off, with another process too."""
        for queue, follower in list(self._followers.items()):
            queue.end(follower.farewell)

    async def end(self, session_id: str) -> None:
        """End the streams of a session that ended, and forget what was stored of them."""
        self.end_here(session_id)
        await self._events.forget(session_id)

    def end_here(self, session_id: str) -> None:
        """End the streams of a session on this replica."""
        self.mark_back(session_id)
        for key in [key for key in self._queues if key[0] == session_id]:
            self._queues.pop(key).end()
            self._shares.remove(key)


def is_primed(session: Session) -> bool:
    """True if its streams begin with an event without a message: since revision 2025-11-25."""
    return session.revision >= "2025-11-25"
