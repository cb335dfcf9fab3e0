"""HTTP/1.1 on one connection, on httptools, for uvicorn's server.

It gives what a server at the edge owes: a bounded head, deadlines, and exactly one answer for each request. Ambiguous
requests are refused (`request_head`), and the connection is closed. `cycle` is one request and its answer.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from functools import partial
from http import HTTPStatus
from typing import Any, NoReturn, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from stoa.interfaces.http.connections import STATE_KEY, Connections, Reason
from stoa.interfaces.http.cycle import RequestCycle, json_head
from stoa.interfaces.http.guard import AsgiApp, Scope
from stoa.interfaces.http.repeated_head import RepeatedHead
from stoa.interfaces.http.request_head import Refused, RequestHead
from stoa.interfaces.http.short_way import SHORT_WAY_KEY

_OVERHEAD_FACTOR = 8
"""Upper bound on the size of a chunked body on the wire, as a multiple of the body: a chunk of one byte takes six."""
_REFUSED_WITH_429: Reason = "connections_per_address"
_ASGI = {"version": "3.0", "spec_version": "2.3"}

_DISCARD_SECONDS = 0.05
"""Pause after each piece of input that is discarded."""

_HEAD, _BODY, _LINGER = 1, 2, 3
"""The part expected from the client. _LINGER: none; the answer is on its way, and further input is discarded."""


class _NoTrailers(list[tuple[bytes, bytes]]):
    """Discards trailer fields: none is needed here, and they must not be merged into the head (RFC 9110 section
    6.5.1)."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Discards the field."""


_NO_TRAILERS = _NoTrailers()


class _JsonHead:
    """The last head that was made: the server renews its own fields (Date) once a second, as another list."""

    def __init__(self) -> None:
        self._fields: list[tuple[bytes, bytes]] | None = None
        self._head = b""

    def of(self, fields: list[tuple[bytes, bytes]]) -> bytes:
        if fields is not self._fields:
            self._head = json_head(fields)
            self._fields = fields
        return self._head


_json_head = _JsonHead()


class GatewayProtocol(asyncio.Protocol):
    """One client's connection. It finds the Connections in the lifespan's state, where the application puts them.
    uvicorn's server makes it and calls `shutdown`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._app: AsgiApp = cast("Any", config).loaded_app
        self._loop = _loop or asyncio.get_event_loop()
        self._root_path = config.root_path
        self._keep_alive_seconds = config.timeout_keep_alive
        self._server_state = server_state
        self._app_state = app_state
        self._short_way = app_state.get(SHORT_WAY_KEY)
        registry: Connections | None = app_state.get(STATE_KEY)
        if registry is None:
            registry = app_state[STATE_KEY] = Connections()
        self._registry = registry
        self._starts = registry.starts
        self._bounds = registry.bounds
        self.transport: _Outlet = cast("_Outlet", None)
        self.outlet = self.transport
        self.flow: FlowControl = cast("FlowControl", None)
        self.client: tuple[str, int] | None = None
        self._parser = self._new_parser()
        self._repeated: RepeatedHead | None = None
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._field_count = 0
        """Number of fields of the head, then of the trailers."""
        self._waiting: deque[RequestCycle] = deque()
        """Requests of a pipeline that wait for the answers to earlier ones."""
        self._latest: RequestCycle | None = None
        """The request whose head came last."""
        self._running: RequestCycle | None = None
        """The request that is being answered, or was answered last."""
        self.address = ""
        self.account: tuple[Hashable, Hashable] | None = None
        self.idle_since = 0.0
        self._phase = _HEAD
        self._head_bytes = 0
        self._wire_bytes = 0
        self._body_bytes = 0
        self.written = 0
        self._discarded = 0
        self._heads = 0
        self._has_begun = False
        self._is_upgrade = False
        self._refused: Refused | None = None
        self._seen: tuple[int, int] | None = None
        self._seen_at = 0.0
        self._seen_bytes = 0
        self._last_read = 0
        self._window: tuple[float, int, int] | None = None
        """Start time, bytes read and bytes waiting of the measurement of the client's reading."""

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # An earlier request of a pipeline may say `Connection: close`; its own answer decides about the connection.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._server_state.connections.add(cast("Any", self))
        self.transport = self.outlet = _Outlet(transport, self)
        self.flow = FlowControl(transport)
        self.client = client = get_remote_addr(transport)
        self._constant = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": get_local_addr(transport),
            "client": client,
            "scheme": "https" if is_ssl(transport) else "http",
            "root_path": self._root_path,
            "state": self._app_state.copy(),
        }
        """The part of every request's ASGI scope that its connection decides."""
        self.address = client[0] if client else ""
        reason = self._registry.opened(self, self._loop)
        if reason is not None:
            status = 429 if reason == _REFUSED_WITH_429 else 503
            self._refuse(Refused(status, "Too many connections; try again later", reason))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._server_state.connections.discard(cast("Any", self))
        self._registry.closed(self)
        self.transport.is_ended = True
        for cycle in (self._running, self._latest, *self._waiting):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnect()
        self.flow.resume_writing()
        self.transport.let_go()  # freed now, and not by the garbage collector: its parts refer to each other
        self._latest = self._running = None
        self._waiting.clear()
        self._parser = cast("httptools.HttpRequestParser", None)

    def eof_received(self) -> None:
        """Closes the connection (asyncio does, as None is returned)."""

    def data_received(self, data: bytes) -> None:
        self._registry.idle.pop(self, None)
        if self._phase is _LINGER:
            self._discarded += len(data)
            if self._discarded > self._bounds.linger_bytes:
                self.transport.abort()
            else:  # a discarded body of megabytes would come at once, and take the loop milliseconds
                self.flow.pause_reading()
                self._loop.call_later(_DISCARD_SECONDS, self._discard_more)
            return
        if self._phase is _HEAD:
            room = self._bounds.head_bytes - self._head_bytes
            if len(data) > room:
                self._receive_long(data, room)
                return
            if not self._has_begun:
                self._receive_first(data)
                return
            self._head_bytes += len(data)
            self._parse(data)
        else:
            self._wire_bytes += len(data)
            self._parse(data)
            self._check_overhead()

    def _discard_more(self) -> None:
        if self._parser is not None:  # pyright: ignore[reportUnnecessaryComparison]  # the connection is not gone
            self.flow.resume_reading()

    def _receive_first(self, data: bytes) -> None:
        """Handles what begins a request: parses it, or recognises the head of the request before it."""
        latest = self._latest
        if latest is None or latest.response_complete:  # no pipeline, whose order the parser's side keeps
            whole = None if self._repeated is None else self._repeated.match(data)
            if whole is not None:
                self._heads += 1
                head, body = whole
                self._latest = cycle = RequestCycle(head, self, not self._registry.is_draining, body)
                self._run(cycle)
                return
        heads = self._heads
        self._has_begun = True
        self._head_bytes += len(data)
        self._parse(data)
        if self._heads == heads + 1 and not self._has_begun and self._phase is _HEAD:
            latest = self._latest
            if latest is not None and latest.keep_alive:
                self._repeated = RepeatedHead.of(latest.request, data, self._body_bytes)

    def _receive_long(self, data: bytes, room: int) -> None:
        """Handles more bytes than a head may have: parses up to the bound, where the head must be complete."""
        heads = self._heads
        self._has_begun = True
        self._head_bytes += room
        self._parse(data[:room])
        if self._phase is _LINGER:
            return
        if self._heads == heads:
            self._refuse(Refused(431, "The request head is too large", "head_size"))
            return
        self._parse(data[room:])
        self._check_overhead()

    def _check_overhead(self) -> None:
        allowed = self._bounds.head_bytes + _OVERHEAD_FACTOR * self._body_bytes
        if self._phase is _BODY and self._wire_bytes - self._body_bytes > allowed:
            self._refuse(Refused(431, "The chunk extensions or trailers are too large", "head_size"))

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            refused, self._refused = self._refused, None  # its traceback refers to this connection
            self._refuse(refused or Refused(400, "Invalid HTTP request"))

    def pause_writing(self) -> None:
        self.flow.pause_writing()
        now = self._loop.time()
        self._account()
        self.note_reading(now)
        self._registry.stalled(self, now)

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self._registry.flowing(self)

    # The parser's side

    def on_message_begin(self) -> None:
        self._target, self._fields = b"", []
        self._field_count = 0
        self._phase, self._has_begun = _HEAD, True

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_count += 1
        if self._field_count > self._bounds.head_fields:  # here: 64 KiB of them would keep the event loop for 10 ms
            self._raise(Refused(431, "The request head has too many fields", "head_size"))
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._heads += 1
        self._head_bytes = self._wire_bytes = self._body_bytes = 0
        parser = self._parser
        head = self._read_head()
        fault = head.fault()
        if fault is None and len(self._waiting) >= self._bounds.pipelined:
            fault = Refused(429, "Too many requests wait on this connection")
        if fault is not None:
            self._raise(fault)
        if parser.should_upgrade():
            self._is_upgrade = True
            return
        self._begin(head)
        self._fields = _NO_TRAILERS
        self._field_count = 0
        self._phase = _BODY

    def _raise(self, fault: Refused) -> NoReturn:
        self._refused = fault  # the parser replaces the error by its own
        raise fault

    def _begin(self, head: RequestHead) -> None:
        """Has the request answered, or lets it wait for the answers to earlier ones."""
        is_kept = head.version != "1.0" and self._parser.should_keep_alive() and not self._registry.is_draining
        cycle = RequestCycle(head, self, keep_alive=is_kept)
        earlier, self._latest = self._latest, cycle
        if earlier is None or earlier.response_complete:
            self._run(cycle)
        else:
            self.flow.pause_reading()
            self._waiting.append(cycle)

    def _read_head(self) -> RequestHead:
        parser, fields = self._parser, self._fields
        by_name = dict(fields)
        return RequestHead(
            parser.get_method(),
            parser.get_http_version(),
            self._target,
            fields,
            by_name,
            by_name.get(b"expect", b"").lower() == b"100-continue",
        )

    def scope_of(self, head: RequestHead) -> Scope:
        """The ASGI scope of a request."""
        raw_path, query = head.path_and_query()
        path = raw_path.decode("ascii")
        scope = {
            **self._constant,
            "method": head.method.decode("ascii"),
            "path": self._root_path + (unquote(path) if "%" in path else path),
            "raw_path": self._root_path.encode("ascii") + raw_path,
            "query_string": query,
            "headers": head.fields,
        }
        if head.version != "1.1":
            scope["http_version"] = head.version
        return scope

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        cycle = self._latest
        if cycle is not None and not cycle.response_complete:
            cycle.add_body(body)

    def on_message_complete(self) -> None:
        if self._is_upgrade:
            return
        self._phase = _HEAD
        self._has_begun = False
        cycle = self._latest
        if cycle is not None and not cycle.response_complete:
            cycle.end_body()

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Ignores an offer to upgrade. The parser would treat the following bytes as the other protocol, so they are
        parsed again without the offer."""
        plain = self._read_head().without_upgrade()
        self._is_upgrade = False
        self._parser = self._new_parser()
        self._parse(plain + rest)

    # Requests and answers

    def _run(self, cycle: RequestCycle, *, has_waited: bool = False) -> None:
        """Begins a request, now or in a later turn of the loop, as FairStarts says."""
        self._running = cycle
        self.account = None
        if not has_waited:
            credential, now = cycle.request.by_name.get(b"authorization"), self._loop.time()
            # A hash, because the credential itself may be as long as a head.
            sender = self._registry.stranger_on(self) if credential is None else hash(credential)
            if not self._starts.may_begin(sender, now):
                self._starts.begin_later(sender, now, self._loop, partial(self._run, cycle, has_waited=True))
                return
        # Taken out again by `run` itself: a callback for it would be another turn of the loop for each request.
        tasks = self._server_state.tasks
        cycle.task = task = self._loop.create_task(cycle.run(self._app, self._short_way, tasks))
        tasks.add(task)

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return self._server_state.default_headers

    def json_head(self) -> bytes:
        """The head of an answer with status 200 and JSON, up to the value of Content-Length."""
        return _json_head.of(self._server_state.default_headers)

    def note_excess(self, cycle: RequestCycle) -> None:
        credential = cycle.request.by_name.get(b"authorization")
        sender = self._registry.stranger_on(self) if credential is None else hash(credential)
        self._starts.note_excess(sender, self._loop.time())

    def on_answered(self) -> None:
        self._account()
        self._server_state.total_requests += 1
        if self._phase is _BODY and self._running is self._latest:
            self.close()  # the rest of the body was not requested, and must not be waited for
            return
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self._waiting:
            self._run(self._waiting.popleft())
        elif not self._has_begun:
            self._registry.idle[self] = self._loop.time() + self._keep_alive_seconds

    def _account(self) -> None:
        running = self._running
        if running is not None:
            if running.account is None:
                running.note_account()
            self.account = running.account or self.account

    def _refuse(self, refused: Refused) -> None:
        """Answers instead of the application, if the client can still understand it, and closes the connection."""
        self._registry.report(refused.reason, self.address)
        running = self._running
        if running is None or running.response_complete:
            self._answer(refused)
        elif running is self._latest and self._phase is _BODY:  # its own body: the application sees it go away
            has_started = running.response_started
            running.disconnect()
            if not has_started:
                self._answer(refused)
        else:  # an earlier request is being answered: it is the last one
            self._waiting.clear()
            running.keep_alive = False
            self._phase = _LINGER
            return
        self.close()

    def _answer(self, refused: Refused) -> None:
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
        last = self._latest
        if last is not None and not last.response_complete:
            last.keep_alive = False

    def shutdown(self) -> None:
        """Closes the connection after the current answer, and after a request that has begun to arrive."""
        self.drain()
        last = self._latest
        if (last is None or last.response_complete) and not self._has_begun:
            self.transport.close()

    def close(self) -> None:
        """Closes the connection once everything written is sent. While the client still writes, closing at once would
        reset the connection and lose the answer (RFC 9112 section 9.6)."""
        transport = self.transport
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
        return self.transport.get_write_buffer_size()

    def overdue(self, now: float) -> Reason | None:
        if self.note_reading(now):
            return "write_deadline"
        phase = self._phase
        is_head = phase is _HEAD and (self._has_begun or not self._heads)
        if not (is_head or phase is not _HEAD) or (self.flow.read_paused and phase is not _LINGER):
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
                running.disconnect()
            self._answer(Refused(408, "The request did not come in time", reason))
            self.close()
        else:
            self.transport.abort()

    def _has_begun_anything(self) -> bool:
        return self._has_begun or self._phase is _BODY

    def _is_started(self) -> bool:
        running = self._running
        if running is None or running.response_complete:
            return False
        return running.response_started or running is not self._latest


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
        if not self.is_ended:
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

    def let_go(self) -> None:
        """The connection is gone."""
        self.close_now()
        self._protocol = cast("GatewayProtocol", None)

    def abort(self) -> None:
        self.is_ended = True
        self._transport.abort()

    def is_closing(self) -> bool:
        return self.is_ended or self._transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)
