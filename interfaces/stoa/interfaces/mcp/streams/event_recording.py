"""Recording the stream that answers one POST, so that its client can resume it (2025-11-25, "Resumability and
Redelivery")."""

import logging
import secrets

from stoa.domain.calls.session import Session
from stoa.domain.errors import SharedStateUnavailable
from stoa.interfaces.mcp.streams.event_queue import Event
from stoa.interfaces.mcp.streams.streams import Streams, is_primed

_log = logging.getLogger(__name__)


class EventRecording:
    """Stores each event of one response stream before the transport sends it, which makes the stream resumable. When
    the store cannot be reached the recording ends, and the response goes on without ids."""

    def __init__(self, streams: Streams, session: Session) -> None:
        self._streams = streams
        self._session = session
        self._stream = secrets.token_hex(8)
        self._is_complete = True

    @property
    def is_resumable(self) -> bool:
        """The client knows that it has to come back, and will find the rest."""
        return is_primed(self._session) and self._is_complete

    async def opening(self) -> Event | None:
        """The event that the stream begins with; None: it begins with its first message."""
        try:
            return await self._streams.begin(self._session, self._stream)
        except SharedStateUnavailable:
            self._give_up()
            return None

    async def event(self, message: bytes, *, is_last: bool) -> Event:
        """The event to send for `message`, with an id if it was stored. After one that could not be stored no other
        is: a stream with a gap would look complete to a client that resumes it."""
        if self._is_complete:
            try:
                holder = self._session.holder
                return await self._streams.publish(
                    self._session.id, self._stream, message, is_last=is_last, holder=holder
                )
            except SharedStateUnavailable:
                self._give_up()
        return Event(message)

    def _give_up(self) -> None:
        self._is_complete = False
        _log.warning("an answer's stream cannot be kept: what the replicas share cannot be reached")
