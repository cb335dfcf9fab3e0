"""One connection: writes a request, hands back its response.

It carries one request at a time; the caller that takes it from its Pool has it alone. A future waits for the response:
a request makes no task and no timer, because deadlines are kept by one look a second at all connections (Http1Client).
"""

import asyncio
import select
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from stoa.infrastructure.http_client.failures import (
    ConnectionLost,
    HttpFailure,
    InvalidResponse,
    ResponseCutShort,
    ResponseTimedOut,
)
from stoa.infrastructure.http_client.http1.reader import ResponseReader
from stoa.infrastructure.http_client.http1.response import Response

MAX_BUFFERED_BYTES = 256 * 1024
"""Upper bound on the bytes of a streamed body that are not taken yet; at this size the peer has to wait."""
PIECE_BYTES = 8 * 1024
"""Upper bound on the bytes of a streamed body that are given in one turn of the loop: a thousand events made of them
would hold up other calls."""
_ACKNOWLEDGED_AT = 120
"""Offset of tcpi_bytes_acked in struct tcp_info (linux/tcp.h)."""
_TCP_INFO_BYTES = 128

OnClosed = Callable[["Connection", bool], None]
"""Hears once that a connection is closed, and whether the peer closed it."""


class Connection(asyncio.Protocol):
    """`sock` stays open as long as the transport that is made of it."""

    __slots__ = (
        "_acknowledged",
        "_failure",
        "_has_eof",
        "_is_behind",
        "_is_paused",
        "_loop",
        "_on_closed",
        "_poll",
        "_reader",
        "_socket",
        "_transport",
        "_waiter",
        "began",
        "closed",
        "expires",
        "head_seen",
        "idle_since",
        "is_encrypted",
        "is_open",
        "is_streaming",
    )

    def __init__(self, sock: socket.socket, on_closed: OnClosed, *, is_encrypted: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._on_closed = on_closed
        self.is_encrypted = is_encrypted
        self._reader = ResponseReader()
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Response] | None = None
        self._poll = _poll(sock)
        self._acknowledged: int | None = None
        self._has_eof = self._is_behind = self._is_paused = False
        self.is_streaming = False
        """True while the body of its response is read by `piece`."""
        self._failure: HttpFailure | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self.is_open = True
        """False once it was closed, by either side."""
        self.began = self.idle_since = self.expires = 0.0
        """When its request was sent; since when it has been idle; until when it may be used again."""
        self.head_seen: float | None = None
        """When the head of the response was first found complete; kept by the look at all connections."""

    def send(
        self,
        request: bytes,
        *,
        is_head_request: bool,
        limit: int | None,
        is_repeatable: bool,
        may_stream: bool = False,
    ) -> asyncio.Future[Response]:
        """Writes the request; the future has the response or an HttpFailure. `limit` None: the response is there after
        its head, and `piece` reads its body; with `may_stream` the same where the head announces a stream.
        `is_repeatable`: sending it twice does no harm, so it need not be known
        whether the peer has read it. Raises HttpFailure."""
        if not self.is_open:
            raise self._failure or ConnectionLost(nothing_was_sent=True)
        self._reader.begin(is_head_request=is_head_request, limit=limit, may_stream=may_stream)
        self.is_streaming, self._is_behind = limit is None, False
        self._acknowledged = None if is_repeatable else _acknowledged_bytes(self._socket)
        self.head_seen = None
        waiter = self._waiter = self._loop.create_future()
        self._transport.write(request)
        return waiter

    async def piece(self, most: int = PIECE_BYTES) -> bytes:
        """The next bytes of a streamed body, as they come, `most` at most; empty at its end. Raises HttpFailure, after
        what had come before it."""
        while True:
            content = self._reader.take(most)
            if content:
                buffered = self._reader.buffered_bytes
                if buffered or self._is_behind:  # nothing has to be waited for, so others would not have a turn
                    self._is_behind = buffered > 0
                    await asyncio.sleep(0)
                if buffered <= MAX_BUFFERED_BYTES:
                    self._resume()
                return content
            if self._reader.is_complete:
                return b""
            if self._failure is not None:
                raise self._failure
            waiter = self._waiter = self._loop.create_future()
            with suppress(HttpFailure):  # kept, because what had come before it is handed over first
                await waiter

    def end_stream(self) -> bool:
        """Ends a streamed response, whether all of it was read or not. False: the connection is closed with it."""
        if not self._reader.is_complete:
            self.give_up()
            return False
        self._resume()
        self.is_streaming = False
        return True

    def is_quiet(self) -> bool:
        """False if bytes or the end of the connection have arrived, also such that the loop has not read yet. An idle
        connection that is not quiet is of no use: it was closed, or the bytes would be taken for the next response."""
        return self.is_open and not (self._poll is not None and self._poll.poll(0))

    def can_be_reused(self) -> bool:
        """True after a response that leaves the connection in order."""
        # Without the second condition: a response that came before the whole request was sent, such as 413.
        return self.is_open and self._reader.is_reusable and not self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Closes an idle connection."""
        self.is_open = False
        self._transport.close()

    def abort(self) -> None:
        """Closes the connection of a request that is given up."""
        self.is_open = False
        self._waiter = None
        self._transport.abort()

    def give_up(self) -> None:
        """Ends the response that is waited for, because nobody wants it any more."""
        self._fail(ResponseCutShort("the response was given up"))

    def expire(self, now: float, head_seconds: float, body_seconds: float) -> None:
        """Ends a response that takes too long, counted from its request to its head and from there to its end. One that
        is streamed may go on for days; whoever reads it keeps the deadline."""
        if self._waiter is None or self.is_streaming:
            return
        if self.head_seen is None and self._reader.has_head:
            self.head_seen = now
        since, seconds = (self.began, head_seconds) if self.head_seen is None else (self.head_seen, body_seconds)
        if now - since > seconds:
            self._fail(ResponseTimedOut(f"no complete response within {seconds:g} s"))

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if (
            waiter is None and not self.is_streaming
        ):  # nothing was asked: the next request would get this as its response
            self._failure = InvalidResponse("it sent something before the request")
            self._failure.nothing_was_sent = True
            self.abort()
            return
        try:
            response = self._reader.feed(data)
        except HttpFailure as failure:
            self._fail(failure)
            return
        if response is not None:
            self._waiter = None
            self.is_streaming = self._reader.is_streamed
            if waiter is not None and not waiter.done():
                waiter.set_result(response)
            if self.is_streaming and not self._is_paused and self._reader.buffered_bytes > MAX_BUFFERED_BYTES:
                self._is_paused = True
                self._transport.pause_reading()

    def eof_received(self) -> None:
        self._has_eof = True
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        is_closed_by_peer, self.is_open = self.is_open, False
        self.closed.set_result(None)
        self._on_closed(self, is_closed_by_peer)

    def _end(self, exc: Exception | None) -> None:
        """Ends the response that is waited for, if any, as the end of the connection demands."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and waiter.done():
            waiter = None
        if (waiter is None and not self.is_streaming) or self._reader.is_complete or self._failure is not None:
            return
        try:
            response = self._ended(exc)
        except HttpFailure as failure:
            self._failure = failure
            if waiter is not None:
                waiter.set_exception(failure)
        else:
            if waiter is not None:
                waiter.set_result(response)

    def _ended(self, exc: Exception | None) -> Response:
        if not self._reader.has_begun:
            raise ConnectionLost(nothing_was_sent=exc is None and self._is_unread())
        if exc is not None or (self.is_encrypted and not self._has_eof):  # cut by anyone on the way (RFC 9112, 9.8)
            raise ResponseCutShort("the connection ended within the response")
        return self._reader.end()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            if self.is_open:
                self._transport.resume_reading()

    def _fail(self, failure: HttpFailure) -> None:
        waiter = self._waiter
        if self._failure is None:
            self._failure = failure
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(failure)

    def _is_unread(self) -> bool:
        """True if the peer had closed the connection before a byte of the request reached it.

        The end of a connection (FIN) acknowledges what came before it. So an end with nothing acknowledged was sent by
        a peer that had received nothing, and a server must not process what comes after it closed (RFC 9112 section
        9.6). A reset proves nothing: its acknowledgement is not looked at.
        """
        return self._acknowledged is not None and _acknowledged_bytes(self._socket) == self._acknowledged


def _acknowledged_bytes(sock: socket.socket) -> int | None:
    """The bytes that the peer's TCP has acknowledged; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    return struct.unpack_from("=Q", info, _ACKNOWLEDGED_AT)[0] if len(info) == _TCP_INFO_BYTES else None


def _poll(sock: socket.socket) -> Any:
    if not hasattr(select, "poll"):  # Windows
        return None
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll
