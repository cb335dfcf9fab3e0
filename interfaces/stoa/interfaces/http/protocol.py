"""HTTP/1.1 on one connection: uvicorn's protocol on httptools, made strict.

It adds what a server at the edge owes: a bounded head, deadlines, and exactly one answer for each request. Ambiguous
requests (RFC 9112 section 11.2, request smuggling) are refused, and the connection is closed.
"""

import asyncio
from collections.abc import Hashable
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from stoa.interfaces.http.connections import STATE_KEY, Connections, Reason
from stoa.interfaces.wire.bodies import CALLER_KEY

_SINGLE = frozenset(
    {
        b"authorization", b"content-encoding", b"content-length", b"content-type", b"expect", b"host",
        b"last-event-id", b"mcp-session-id", b"origin", b"transfer-encoding",
    }
)  # fmt: skip
"""Fields that may occur once: of two, one reader would take the first and another the last. (The engine refuses
repeated routing headers of MCP, for which it has a JSON-RPC error.)"""
_HOP_BY_HOP = frozenset({b"upgrade", b"http2-settings"})
_OVERHEAD_FACTOR = 8
"""Upper bound on the size of a chunked body on the wire, as a multiple of the body: a chunk of one byte takes six."""
_REFUSED_WITH_429: Reason = "connections_per_address"


_HEAD, _BODY, _LINGER = 1, 2, 3
"""The part expected from the client. _LINGER: none; the answer is on its way, and further input is discarded."""


class _NoTrailers(list[tuple[bytes, bytes]]):
    """Discards trailer fields: none is needed here, and they must not be merged into the head (RFC 9110 section
    6.5.1)."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Discards the field."""


_NO_TRAILERS = _NoTrailers()


class _Refused(Exception):
    """The request must not reach the application."""

    def __init__(self, status: int, message: str, reason: Reason = "framing") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason: Reason = reason


class GatewayProtocol(HttpToolsProtocol):
    """One client's connection. It finds the Connections in the lifespan's state, where the application puts them."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        registry: Connections | None = app_state.get(STATE_KEY)
        if registry is None:
            registry = app_state[STATE_KEY] = Connections()
        self._registry = registry
        self._bounds = registry.bounds
        self.address = ""
        self.account: tuple[Hashable, Hashable] | None = None
        self.idle_since = 0.0
        self._running: RequestResponseCycle | None = None
        self._phase = _HEAD
        self._head_bytes = 0
        self._wire_bytes = 0
        self._body_bytes = 0
        self.written = 0
        self._discarded = 0
        self._heads = 0
        self._has_begun = False
        self._is_upgrade = False
        self._refused: _Refused | None = None
        self._seen: tuple[int, int] | None = None
        self._seen_at = 0.0
        self._seen_bytes = 0
        self._last_read = 0
        self._window: tuple[float, int, int] | None = None
        """Start time, bytes read and bytes waiting of the measurement of the client's reading."""

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", _Outlet(transport, self))
        self.address = self.client[0] if self.client else ""
        reason = self._registry.opened(self, self.loop)
        if reason is not None:
            status = 429 if reason == _REFUSED_WITH_429 else 503
            self._refuse(_Refused(status, "Too many connections; try again later", reason))

    def connection_lost(self, exc: Exception | None) -> None:
        self._registry.closed(self)
        cast("_Outlet", self.transport).is_ended = True
        running = self._running
        super().connection_lost(exc)
        if running is not None and running is not self.cycle and not running.response_complete:
            running.disconnected = True  # uvicorn tells the last request of a pipeline only
            running.message_event.set()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._registry.idle.pop(self, None)
        if self._phase is _LINGER:
            self._discarded += len(data)
            if self._discarded > self._bounds.linger_bytes:
                self.transport.abort()
            return
        if self._phase is _HEAD:
            room = self._bounds.head_bytes - self._head_bytes
            if len(data) > room:
                self._receive_long(data, room)
                return
            self._has_begun = True
            self._head_bytes += len(data)
            self._parse(data)
        else:
            self._wire_bytes += len(data)
            self._parse(data)
            self._check_overhead()

    def _receive_long(self, data: bytes, room: int) -> None:
        """Handles more bytes than a head may have: parses up to the bound, where the head must be complete."""
        heads = self._heads
        self._has_begun = True
        self._head_bytes += room
        self._parse(data[:room])
        if self._phase is _LINGER:
            return
        if self._heads == heads:
            self._refuse(_Refused(431, "The request head is too large", "head_size"))
            return
        self._parse(data[room:])
        self._check_overhead()

    def _check_overhead(self) -> None:
        allowed = self._bounds.head_bytes + _OVERHEAD_FACTOR * self._body_bytes
        if self._phase is _BODY and self._wire_bytes - self._body_bytes > allowed:
            self._refuse(_Refused(431, "The chunk extensions or trailers are too large", "head_size"))

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refused or _Refused(400, "Invalid HTTP request"))

    def pause_writing(self) -> None:
        super().pause_writing()
        now = self.loop.time()
        self._account()
        self.note_reading(now)
        self._registry.stalled(self, now)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._registry.flowing(self)

    # The parser's side

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._has_begun = _HEAD, True

    def on_headers_complete(self) -> None:
        self._heads += 1
        self._head_bytes = self._wire_bytes = self._body_bytes = 0
        fault = self._fault()
        if fault is not None:
            self._refuse_in_parser(fault)
        if self.parser.should_upgrade():
            self._is_upgrade = True
            return
        super().on_headers_complete()
        if self._registry.is_draining:
            self.cycle.keep_alive = False
        self.headers = _NO_TRAILERS
        self._phase = _BODY

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        self._phase = _HEAD
        self._has_begun = False
        super().on_message_complete()

    def _refuse_in_parser(self, fault: _Refused) -> None:
        """Refuses a request inside a parser callback. The parser replaces the error by its own, so it is stored
        here."""
        self._refused = fault
        raise fault

    def _fault(self) -> _Refused | None:
        """The fault of a complete head that the parser itself accepts."""
        headers, version = self.headers, self.parser.get_http_version()
        names = {name for name, _ in headers}
        if len(headers) > self._bounds.head_fields:
            return _Refused(431, "The request head has too many fields", "head_size")
        if len(names) != len(headers):
            all_names = [name for name, _ in headers]
            repeated = next((name for name in _SINGLE if all_names.count(name) > 1), None)
            if repeated is not None:
                return _Refused(400, f"The header {repeated.decode('latin-1')} stands there more than once")
        if version != "1.1" and version != "1.0":
            return _Refused(505, "HTTP/1.1 is spoken here")
        if version == "1.1" and b"host" not in names:
            return _Refused(400, "The header host is missing")
        if b"transfer-encoding" in names:
            coding = dict(headers)[b"transfer-encoding"].strip().lower()
            if version == "1.0" or coding != b"chunked":
                return _Refused(501, "A Transfer-Encoding other than chunked, or in HTTP/1.0, is not understood")
        if b"expect" in names and not (self.expect_100_continue and version == "1.1"):
            self.expect_100_continue = False
            if version == "1.1":
                return _Refused(417, "Expect: only 100-continue is understood")
        if self.url[:1] != b"/" or self.url[:2] == b"//" or b"#" in self.url:
            return self._target_fault(dict(headers).get(b"host", b""))
        if len(self.pipeline) >= self._bounds.pipelined:
            return _Refused(429, "Too many requests wait on this connection")
        return None

    def _target_fault(self, host: bytes) -> _Refused | None:
        """The fault of a request target. Absolute form (RFC 9112 section 3.2.2) is accepted if it agrees with Host."""
        if self.url[:7].lower() == b"http://" or self.url[:8].lower() == b"https://":
            authority = self.url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]
            if authority.lower() == host.strip().lower() and b"#" not in self.url:
                return None
            return _Refused(400, "The request target and the header host differ")
        return _Refused(400, "The request target must be a path")

    def _without_upgrade(self, rest: bytes) -> None:
        """Ignores an offer to upgrade (RFC 9110 section 7.8). The parser would treat the following bytes as the other
        protocol, so they are parsed again without the offer."""
        version, method = self.parser.get_http_version(), self.parser.get_method()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version.encode("ascii"))]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _HOP_BY_HOP)  # noqa: PLW2901
            if name not in _HOP_BY_HOP:
                lines.append(b"%b: %b" % (name, value))
        self._is_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(b"\r\n".join([*lines, b"", b""]) + rest)

    # Requests and answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self.account = None
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self._account()
        if self._phase is _BODY and self._running is self.cycle:
            self.server_state.total_requests += 1
            self.close()  # the rest of the body was not requested, and must not be waited for
            return
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and not self._has_begun and not self.transport.is_closing():
            self._registry.idle[self] = None

    def _account(self) -> None:
        if self._running is not None:
            self.account = cast("dict[str, Any]", self._running.scope).get(CALLER_KEY, self.account)

    def _refuse(self, refused: _Refused) -> None:
        """Answers instead of the application, if the client can still understand it, and closes the connection."""
        self._registry.report(refused.reason, self.address)
        running = self._running
        if running is None or running.response_complete:
            self._answer(refused)
        elif running is self.cycle and self._phase is _BODY:  # its own body: the application sees it go away
            has_started = running.response_started
            running.disconnected = True
            running.message_event.set()
            if not has_started:
                self._answer(refused)
        else:  # an earlier request is being answered: it is the last one
            self.pipeline.clear()
            running.keep_alive = False
            self._phase = _LINGER
            return
        self.close()

    def _answer(self, refused: _Refused) -> None:
        body = refused.message.encode("ascii", "replace")
        head = (
            f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}\r\n"
            "content-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)

    @property
    def is_new(self) -> bool:
        """True if no request has arrived on it yet."""
        return not self._heads and not self.transport.is_closing()

    def drain(self) -> None:
        last = cast("RequestResponseCycle | None", self.cycle)
        if last is not None and not last.response_complete:
            last.keep_alive = False

    def shutdown(self) -> None:
        """Closes the connection after the current answer, and after a request that has begun to arrive."""
        self.drain()
        last = cast("RequestResponseCycle | None", self.cycle)
        if (last is None or last.response_complete) and not self._has_begun:
            self.transport.close()

    def close(self) -> None:
        """Closes the connection once everything written is sent. While the client still writes, closing at once would
        reset the connection and lose the answer (RFC 9112 section 9.6)."""
        transport = cast("_Outlet", self.transport)
        if transport.is_closing():
            return
        if self._phase is _HEAD and not self._has_begun:
            transport.close_now()
            return
        self._phase, self._seen = _LINGER, None
        transport.end()
        self.flow.resume_reading()

    # What the registry asks

    def unread(self) -> int:
        return cast("_Outlet", self.transport).get_write_buffer_size()

    def overdue(self, now: float) -> Reason | None:
        if self.note_reading(now):
            return "write_deadline"
        phase = self._phase
        is_head = phase is _HEAD and (self._has_begun or not self._heads)
        if not (is_head or phase is not _HEAD) or self.flow.read_paused:
            self._seen = None
            return None
        if self._seen != (phase, self._heads):
            self._seen, self._seen_at, self._seen_bytes = (phase, self._heads), now, self._body_bytes
            return None
        waited = now - self._seen_at
        if phase is _LINGER:
            is_waiting = self._is_answering() or self.unread() > 0
            return "write_deadline" if waited >= self._bounds.linger_seconds and not is_waiting else None
        if phase is _HEAD:
            return "head_deadline" if waited >= self._bounds.head_seconds else None
        if waited < self._bounds.body_seconds:
            return None
        if self._body_bytes - self._seen_bytes < self._bounds.least_rate * waited:
            return "body_deadline"
        self._seen_at, self._seen_bytes = now, self._body_bytes
        return None

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete and not self._running.disconnected

    def note_reading(self, now: float) -> bool:
        waiting = self.unread()
        if not waiting:
            self._window = None
            return False
        was_read = self.written - waiting
        if self._window is None:
            self._window = (now, was_read, waiting)
            self.idle_since = now
        elif was_read > self._last_read:
            self.idle_since = now
        self._last_read = was_read
        since, read_before, owed = self._window
        waited = now - since
        if waited < self._bounds.write_seconds:
            return False
        self._window = (now, was_read, waiting)
        return was_read - read_before < min(owed, self._bounds.least_rate * waited)

    def expel(self, reason: Reason) -> None:
        if reason in ("head_deadline", "body_deadline") and not self._is_started() and self._has_begun_anything():
            running = self._running
            if running is not None and not running.response_complete:
                running.disconnected = True
                running.message_event.set()
            self._answer(_Refused(408, "The request did not come in time", reason))
            self.close()
        else:
            self.transport.abort()

    def _has_begun_anything(self) -> bool:
        return self._has_begun or self._phase is _BODY

    def _is_started(self) -> bool:
        running = self._running
        if running is None or running.response_complete:
            return False
        return running.response_started or running is not self.cycle


class _Outlet:
    """The transport for a request's answer: counts written bytes, and closes in the protocol's way."""

    __slots__ = ("_protocol", "_transport", "is_ended")

    def __init__(self, transport: asyncio.Transport, protocol: GatewayProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self.is_ended = False

    def write(self, data: bytes) -> None:
        if not self.is_ended:
            self._protocol.written += len(data)
            self._transport.write(data)

    def close(self) -> None:
        self._protocol.close()

    def end(self) -> None:
        """Ends writing; reading goes on."""
        self.is_ended = True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def close_now(self) -> None:
        self.is_ended = True
        self._transport.close()

    def abort(self) -> None:
        self.is_ended = True
        self._transport.abort()

    def is_closing(self) -> bool:
        return self.is_ended or self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
